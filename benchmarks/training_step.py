"""What a training step costs beside the network: the whole step over the bare step on a batch that lies ready.

    python benchmarks/training_step.py [experiment …]

Whole: an epoch of a real training by its steps, with its loader, patches, precision, clipping, moving average and
Lightning. Bare: forward pass, loss, backward pass and optimiser in the same precision, on one batch that is on the
device. Blocks of both take turns in one process, so that another load on the machine weighs on both; the ratio is the
median over the turns. Experiments on generated scans, and the real ones whose folder below CELLSCAN_DATA was ingested
in CELLSCAN_HOME; of these, 24 training cases. "Patches" is the time to draw and collate a batch alone, without the
network. On a GPU the last column is the time in which a bare step's kernels run over that of a whole step: the share of
time that the device is busy, at the least, since kernels of clipping and averaging are left out.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.datasets.cases import Case
from pipeline.datasets.samples import Batch, collate
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.split import CaseSplit, split_cases
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.detector import Detector
from pipeline.devices import computes_bf16, resolve_device
from pipeline.errors import CellscanError
from pipeline.sample.archive import write_sample
from pipeline.settings import Settings
from pipeline.sources.ingest import ingest
from pipeline.stages.experiment import volumes_below
from pipeline.training.diary import Diary
from pipeline.training.fit import Fit
from pipeline.training.prepared import prepare_cases
from pipeline.training.ranks import Rank
from pipeline.training.stopping import Patience

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
GENERATED = ("demo_cells_2d", "demo_lesions_3d")
REAL = ("crc_cells_2d", "dsb_nuclei_2d", "lidc_nodules_3d")
CASES, TURNS = 24, 4
STEPS = {"cpu": 12, "cuda": 60}


def main() -> None:
    os.environ.setdefault("CELLSCAN_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    settings = Settings.from_environment()
    print("| experiment | batch | precision | bare step | patches | whole step | whole / bare | device busy |")
    print("|---|---|---|---|---|---|---|---|")
    names = sys.argv[1:] or (*GENERATED, *REAL)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        own = dataclasses.replace(settings, home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}")
        if set(names) & set(GENERATED):
            write_sample(home / "sample")
            ingest(home / "sample", own)
        for name in names:
            config = load_experiment(CONFIGS / f"{name}.yaml")
            generated = name in GENERATED
            root = (home if generated else settings.data) / config.data.source
            try:
                volumes = volumes_below(root, own if generated else settings)
                split = split_cases(config.data, volumes, config.seed, config.training_seed, config.uses_masks)
                print(row(config, split, own, home / name), flush=True)
            except CellscanError as error:
                print(f"| {name} | skipped: {error} | | | | | | |", flush=True)


def row(config: ExperimentConfig, split: CaseSplit, settings: Settings, folder: Path) -> str:
    """Measure one experiment. One case validates, since the trainer wants some; it is not counted."""
    folder.mkdir()
    device = torch.device(resolve_device(settings.device))
    steps = STEPS[device.type]
    few = dataclasses.replace(split, train=spread(split.train), validation=split.validation[:1])
    short = shortened(config, steps)
    prepared = prepare_cases(short, few.train, settings)
    half = short.training.precision != "32" and computes_bf16(device)
    dataset = PatchDataset(prepared, short)
    bare_step = stepping(seeded_network(short), short, collated(dataset, 0), device, half)
    bare_step(2)
    bare, patches, whole = [], [], []

    def on_epoch(_: int, told: dict[str, float]) -> None:
        whole.append((told["seconds"] - told.get("validation_seconds", 0.0)) / steps)
        bare.append(bare_step(steps) / steps)
        patches.append(seconds(lambda: [collated(dataset, n) for n in range(steps)]) / steps)

    patience = Patience(0)
    fit = Fit(short, few, folder, settings, str(device), "bf16" if half else "32")
    fit.run(seeded_network(short), prepared, Rank(), patience, Diary(folder, short, patience, on_epoch))
    # The first turn pays for memory and for the choice of algorithms.
    ratio = statistics.median(one / other for one, other in zip(whole[1:], bare[1:], strict=True))
    times = [f"{statistics.median(one[1:]) * 1e3:.0f} ms" for one in (bare, patches, whole)]
    busy = "" if device.type == "cpu" else f"{kernel_seconds(bare_step) / statistics.median(whole[1:]):.0%}"
    batch = f"{short.training.batch_size} of {'x'.join(map(str, short.sampling.patch))}"
    return f"| {config.name} | {batch} | {fit.precision} | {' | '.join(times)} | {ratio:.3f} | {busy} |"


def spread(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    return cases[:: -(-len(cases) // CASES)]


def shortened(config: ExperimentConfig, steps: int) -> ExperimentConfig:
    tree = config.model_dump(mode="json")
    tree["training"] |= {"max_epochs": TURNS, "validate_every": TURNS}
    tree["sampling"]["samples_per_epoch"] = steps * config.training.batch_size
    return ExperimentConfig.model_validate(tree)


def collated(dataset: PatchDataset, number: int) -> Batch:
    size = dataset.config.training.batch_size
    return collate([dataset[number * size + n] for n in range(size)])


def stepping(
    network: Detector, config: ExperimentConfig, batch: Batch, device: torch.device, half: bool
) -> Callable[[int], float]:
    """Does so many bare steps, and returns the seconds that they took."""
    network = network.to(device).train()
    ready, training = batch.to(device), config.training
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)

    def steps(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                loss = network.loss(network(ready.image), ready.objects)
            total = loss.score + training.box_weight * loss.box + training.class_weight * loss.label
            if loss.grade is not None:
                total = total + training.grade_weight * loss.grade
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    return steps


def kernel_seconds(bare_step: Callable[[int], float], count: int = 10) -> float:
    """Of one bare step on a GPU."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        bare_step(count)
    return sum(one.self_device_time_total for one in profile.key_averages()) / 1e6 / count


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
