"""What a training step costs beside the network: the whole step over the bare step on a batch that lies ready.

    python benchmarks/training_step.py

Runs on generated scans, 2D and 3D, and prints the ratio (1.00: patches cost nothing). Figures are medians of repeated
steps within one process, bare and whole steps in turn, so that another load on the machine weighs on both.
"""

import dataclasses
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.samples import Batch, collate
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import seeded_network
from pipeline.sample.archive import write_sample
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
REPEATS = 12


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = dataclasses.replace(
            Settings.from_environment(), home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}"
        )
        write_sample(home / "sample")
        ingest(home / "sample", settings)
        for name in ("demo_cells_2d", "demo_lesions_3d"):
            measure(load_experiment(CONFIGS / f"{name}.yaml"), settings)


def measure(config: ExperimentConfig, settings: Settings) -> None:
    catalog = Catalog.of(settings)
    split = split_cases(config.data, catalog.volumes(settings.home / "sample"), config.seed)
    catalog.close()
    store = PreparedStore(settings.cache, config.preprocessing, config.data.classes)
    dataset = PatchDataset([store.get(case) for case in split.train], config)
    network = seeded_network(config)
    optimiser = torch.optim.AdamW(network.parameters())

    def step(batch: Batch) -> None:
        loss = network.loss(network(batch.image), batch.objects)
        optimiser.zero_grad()
        (loss.score + loss.box + loss.label).backward()
        optimiser.step()

    def batch(number: int) -> Batch:
        size = config.training.batch_size
        return collate([dataset[number * size + n] for n in range(size)])

    ready = batch(0)
    step(ready)
    bare, whole = [], []
    for number in range(REPEATS):
        bare.append(seconds(lambda: step(ready)))
        whole.append(seconds(lambda number=number: step(batch(number))))
    ratio = statistics.median(whole) / statistics.median(bare)
    print(
        f"{config.name}: bare step {statistics.median(bare) * 1000:.0f} ms, whole step "
        f"{statistics.median(whole) * 1000:.0f} ms, ratio {ratio:.2f} "
        f"({config.training.batch_size} patches of {'x'.join(map(str, config.sampling.patch))}, no workers)"
    )


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
