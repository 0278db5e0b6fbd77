"""The README's table: each shipped experiment trained and tested on its real set.

    CELLSCAN_DATA=../shared/data python benchmarks/real_sets.py [experiment …]

Trains what is not yet trained in CELLSCAN_HOME (up to 20 minutes an experiment on 2 cores) and prints one row an
experiment. A set whose folder is absent is skipped and named. For the crops, the row below says what a detector that
looks at nothing reaches: it names the middle of every window.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("CELLSCAN_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))

import numpy as np

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase, evaluate
from pipeline.geometry import Boxes
from pipeline.settings import Settings
from pipeline.stages.experiment import experiment_data
from pipeline.stages.train import train_version

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
OVERLAPS = (
    "f1",
    *(f"mask_jaccard_per_scan_0_{n}0" for n in (5, 6, 7, 8, 9)),
)  # TP / (TP + FP + FN), as StarDist's "AP"
SHOWN = {
    "crc_cells_2d": ("f1", "precision", "recall", "class_f1_weighted"),
    "dsb_nuclei_2d": OVERLAPS,
    "dsb_tissue_2d": OVERLAPS,
    "lidc_nodules_3d": ("sensitivity_at_0_25_fp", "sensitivity_at_1_fp", "cpm", "grade_auc"),
    "ms_lesions_3d": ("f1", "sensitivity_at_1_fp"),
}


def main() -> None:
    settings = Settings.from_environment()
    print("| experiment | test cases (patients), objects | training | figures with 95 % interval |")
    print("|---|---|---|---|")
    for name in sys.argv[1:] or SHOWN:
        config = load_experiment(CONFIGS / f"{name}.yaml")
        if not (settings.data / config.data.source).is_dir():
            print(f"| {name} | skipped: no folder {config.data.source} in CELLSCAN_DATA | | |")
            continue
        print(row(config, settings), flush=True)


def row(config: ExperimentConfig, settings: Settings) -> str:
    trained = train_version(config, settings, progress=told)
    evaluation = trained.evaluation
    counts = evaluation.counts
    figures = "; ".join(f"{name} {evaluation.metrics[name]}" for name in SHOWN[config.name])
    size = f"{counts['cases']} ({counts['patients']}), {counts['objects']}"
    line = f"| {trained.spec} | {size} | {trained.seconds / 60:.1f} min | {figures} |"
    if config.data.cases.kind == "random_offset":
        data = experiment_data(config, settings)
        blind = evaluate([middle(case) for case in data.split.test], config.evaluation, config.data.classes, "-", 0.5)
        figures = "; ".join(f"{name} {blind.metrics[name]}" for name in SHOWN[config.name] if name in blind.metrics)
        line += f"\n| names the middle of every window | {size} | none | {figures} |"
    return line


def middle(case: Case) -> ScoredCase:
    """A detector that looks at nothing."""
    centre = (np.array([case.grid.shape], dtype=float) - 1) / 2
    box = Boxes.around(centre, np.full_like(centre, 8.0), case.grid)
    found = Detections(case.volume.volume_id, box, np.ones(1), np.zeros(1, dtype=int), ("nodule",))
    return ScoredCase(case.case_id, case.patient_key, case.annotations, found)


def told(done: int, total: int, what: str) -> None:
    print(f"  {what} {done}/{total}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
