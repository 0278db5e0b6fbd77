"""Two small networks, trained for seconds on bright discs and balls, for all tests of explanations."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.split import split_cases
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Boxes, Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.training.train import train
from pipeline.volumes import Volume
from tests.experiments import tiny_2d, tiny_3d
from tests.phantoms import field_of_cells, volume_with


@dataclass(frozen=True, eq=False)
class Trained:
    bundle: Bundle
    cases: tuple[Case, ...]
    scan: NetworkScan
    found: Detections

    @property
    def config(self) -> ExperimentConfig:
        return self.bundle.config


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("explanation")
    raw = tiny_2d(max_epochs=10).model_dump()
    # Windows smaller than the field, so that a detection has to find the one that owns it.
    raw["inference"] |= {"window": [48, 48], "overlap": 0.25}
    config = ExperimentConfig.model_validate(raw)
    split = split_cases(config.data, [field_of_cells(folder, seed) for seed in range(6)], 0)
    settings = dataclasses.replace(Settings.from_environment(), home=folder / "home", device="cpu")
    bundle = Bundle.load(train(config, split, folder / "run", settings).bundle_folder)
    case = split.test[0]
    found = VolumeDetector(bundle, "cpu").detect(case.array, case.grid, "field")
    return Trained(bundle, split.test, NetworkScan.of(case.array, case.grid, config), found.above(bundle.threshold))


@pytest.fixture(scope="session")
def trained_3d(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("explanation_3d")
    raw = tiny_3d(max_epochs=12, learning_rate=5e-3).model_dump()
    raw["sampling"] |= {"samples_per_epoch": 16}
    config = ExperimentConfig.model_validate(raw)
    split = split_cases(config.data, [_volume_of_balls(folder, seed) for seed in range(6)], 0)
    settings = dataclasses.replace(Settings.from_environment(), home=folder / "home", device="cpu")
    bundle = Bundle.load(train(config, split, folder / "run", settings).bundle_folder)
    case = split.test[0]
    found = VolumeDetector(bundle, "cpu").detect(case.array, case.grid, "volume")
    return Trained(bundle, split.test, NetworkScan.of(case.array, case.grid, config), found)


def _volume_of_balls(folder: Path, seed: int) -> Volume:
    """Three bright balls of 6 mm in noise, in voxels of 1 x 1 x 2 mm."""
    rng = np.random.default_rng(seed)
    grid = Grid((32, 32, 16), np.diag([1.0, 1.0, 2.0, 1.0]))
    centres = np.array([[8.0, 8, 4], [22, 10, 10], [12, 23, 8]]) + rng.uniform(-2, 2, (3, 3))
    image = rng.normal(0.1, 0.03, grid.shape).astype(np.float32)
    axes = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"))
    for centre in centres:
        away = np.linalg.norm((axes - centre[:, None, None, None]) * grid.spacing[:, None, None, None], axis=0)
        image[away <= 3] += 0.7
    boxes = Boxes.around(centres, np.full((3, 3), 6.0), grid)
    return volume_with(folder, image[None], grid, boxes, patient=f"p{seed}")
