"""One small network, trained for seconds on bright discs, for all tests of explanations."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.split import split_cases
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.explanation.scan import NetworkScan
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.training.train import train
from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells


@dataclass(frozen=True, eq=False)
class Trained:
    bundle: Bundle
    cases: tuple[Case, ...]
    scan: NetworkScan
    found: Detections

    @property
    def config(self) -> ExperimentConfig:
        return self.bundle.config


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, _one_thread) -> Trained:
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
