"""Our detector against MONAI's RetinaNet at equal wall time: same patients, patches, augmentation and evaluation.

    CELLSCAN_DATA=../shared/data python benchmarks/peers.py [--minutes 30] [--ours-as-shipped] [crc | lidc] …

Both are timed for a few steps on this machine, trained for as many epochs as fill the minutes (the schedule of the
learning rate is as long), and compared on the test patients, paired by patient. Ours as shipped takes the epochs of its
configuration, which are fewer. Versions lie in CELLSCAN_HOME; a run that was stopped continues when it is given again
with the same minutes.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("CELLSCAN_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.settings import Settings
from pipeline.stages.compare import compare_versions
from pipeline.stages.experiment import experiment_data
from pipeline.stages.train import TrainedVersion, train_version
from pipeline.training.train import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
PAIRS = {
    "crc": ("crc_retinanet_2d", "crc_cells_2d", ("f1", "class_f1_weighted")),
    "lidc": ("lidc_retinanet_3d", "lidc_nodules_3d", ("cpm", "sensitivity_at_0_25_fp", "sensitivity_at_1_fp")),
}
TIMED_STEPS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[[], *PAIRS], default=[])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--ours-as-shipped", action="store_true", help="ours with the epochs of its configuration")
    asked = parser.parse_args()
    settings = Settings.from_environment()
    print("| version | trained | figure | value | ours less MONAI's [95 %], p |")
    print("|---|---|---|---|---|")
    for name in asked.sets or PAIRS:
        peer, ours, figures = PAIRS[name]
        theirs = trained(peer, asked.minutes, settings)
        own = trained(ours, None if asked.ours_as_shipped else asked.minutes, settings)
        for row in rows(theirs, own, figures, settings):
            print(row, flush=True)


def trained(name: str, minutes: float | None, settings: Settings) -> TrainedVersion:
    changes = [] if minutes is None else [f"training.max_epochs={epochs_in(name, minutes, settings)}"]
    return train_version(load_experiment(CONFIGS / f"{name}.yaml", changes), settings, told, shift=False)


def epochs_in(name: str, minutes: float, settings: Settings) -> int:
    """Measured once in a home: a training that is continued must be the same."""
    kept = settings.home / "peers.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    key = f"{name}, {minutes:g} minutes"
    if key not in known:
        config = load_experiment(CONFIGS / f"{name}.yaml")
        per_epoch = config.sampling.samples_per_epoch / samples_a_second(config, settings)
        known[key] = max(round(minutes * 60 / per_epoch), 1)
        kept.write_text(json.dumps(known, indent=1))
    return int(known[key])


def samples_a_second(config: ExperimentConfig, settings: Settings) -> float:
    """Of the training itself, on its own data; the first start and validation are left out."""
    raw = config.model_dump()
    raw["sampling"]["samples_per_epoch"] = TIMED_STEPS * config.training.batch_size
    raw["training"] |= {"max_epochs": 2, "validate_every": 2}
    timed = ExperimentConfig.model_validate(raw)
    split = experiment_data(timed, settings, told).split
    with tempfile.TemporaryDirectory() as folder:
        last = train(timed, split, Path(folder), settings).history[-1]
    return timed.sampling.samples_per_epoch / (last["seconds"] - last["validation_seconds"])


def rows(peer: TrainedVersion, ours: TrainedVersion, figures: tuple[str, ...], settings: Settings) -> list[str]:
    compared = compare_versions(peer.spec, ours.spec, settings)
    lines = []
    for figure in figures:
        difference, p = compared.differences[figure], compared.p_values.get(figure, float("nan"))
        for version, shown in ((peer, ""), (ours, f"{difference}, p {p:.3f}")):
            value = version.evaluation.metrics[figure]
            lines.append(f"| {version.spec} | {version.seconds / 60:.1f} min | {figure} | {value} | {shown} |")
    return lines


def told(done: int, total: int, what: str) -> None:
    print(f"  {what} {done}/{total}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
