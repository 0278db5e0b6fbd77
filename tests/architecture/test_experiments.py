"""Every experiment that is shipped holds together."""

from pathlib import Path

import pytest
import torch

from pipeline.config import load_experiment
from pipeline.config.detector import EfficientNetLite, StarOutline
from pipeline.datasets.samples import Objects
from pipeline.detectors.bundle import seeded_network

FOLDER = Path(__file__).parents[2] / "configs" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.yaml"))


def test_the_experiments_of_the_readme_are_shipped():
    shipped = {path.stem for path in EXPERIMENTS}
    assert {"demo_cells_2d", "demo_lesions_3d", "crc_cells_2d", "dsb_nuclei_2d", "lidc_nodules_3d"} <= shipped


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiment_loads_and_is_named_after_its_file(path):
    assert load_experiment(path).name == path.stem


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_experiment_steps_on_a_patch_with_an_object_and_one_without(path):
    config = load_experiment(path)
    if isinstance(config.detector.backbone, EfficientNetLite):  # its package may not be installed
        config = load_experiment(path, ["detector.backbone.pretrained=false"])
    network, dims = seeded_network(config), config.data.dims
    assert all(n % step == 0 for n, step in zip(config.sampling.patch, network.coarsest_stride, strict=True))
    shape = [2 * step for step in network.coarsest_stride]
    starred = isinstance(config.detector.outline, StarOutline)
    lower, upper = torch.full((1, dims), 1.5), torch.full((1, dims), 5.5)
    there = Objects(
        *(lower, upper, torch.tensor([0]), torch.tensor([False])),
        _square(shape) if starred else None,
        torch.tensor([1.0]) if config.data.grade else None,
    )
    none = Objects(
        *(lower[:0], upper[:0], there.labels[:0], there.ignore[:0]),
        torch.zeros(shape).int() if starred else None,
        torch.tensor([]) if config.data.grade else None,
    )
    loss = network.loss(network(torch.randn(2, config.preprocessing.channels, *shape)), [there, none])
    (loss.score + loss.box + loss.label + (0 if loss.grade is None else loss.grade)).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def _square(shape: list[int]) -> torch.Tensor:
    instances = torch.zeros(shape, dtype=torch.int32)
    instances[2:6, 2:6] = 1
    return instances
