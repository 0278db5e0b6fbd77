"""What trains and detects keeps its tensors on one device, shown without a GPU (see `tests.pretended_gpu`)."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.samples import collate
from pipeline.datasets.sampling import PatchDataset
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.ensemble import Ensemble
from pipeline.explanation.translation import translation_report
from pipeline.explanation.version import explain_cases
from pipeline.geometry import Boxes, Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.training.average import MovingAverage
from pipeline.training.fit import training_module
from pipeline.training.hard_negatives import false_places
from pipeline.training.prepared import prepare_cases
from pipeline.training.ranks import Rank
from pipeline.training.train import _first_loss
from tests.experiments import tiny_2d, tiny_3d, tiny_graded, tiny_star
from tests.phantoms import field_of_cells, field_with_masks, volume_with
from tests.pretended_gpu import GPU, PretendedGpu


def changed(config: ExperimentConfig, detector=None, **sections) -> ExperimentConfig:
    raw = config.model_dump()
    raw["detector"] = detector or raw["detector"]
    for section, values in {"inference": {"score_floor": 0.001}, **sections}.items():
        raw[section] |= values
    return ExperimentConfig.model_validate(raw)


def retinanet(config: ExperimentConfig, **changes) -> ExperimentConfig:
    dims = config.data.dims
    backbone = {"kind": "resnet", "depth": 10, "width": 8, "stages": 2, "first_stride": 1}
    kind = {"kind": "retinanet", "backbone": backbone, "pyramid_width": 16, "anchor_shapes": [[6] * dims]}
    patch = [32, 32] if dims == 2 else [16, 16, 16]
    return changed(config, kind | changes, sampling={"patch": patch})


LITE = {"backbone": {"kind": "efficientnet_lite0", "pretrained": False}}
CONFIGS = {
    "boxes": changed(tiny_2d(), inference={"score_floor": 0.001, "views": "flips"}),
    "classes": changed(
        tiny_2d(),
        LITE,
        data={"classes": ["cell", "debris"]},
        preprocessing={"channels": 3},
        training={"class_weighting": "inverse_sqrt"},
    ),
    "outlines": changed(tiny_star(), preprocessing={"intensity": {"kind": "percentiles"}}),
    "grades": changed(tiny_graded()),
    "volumes": changed(tiny_3d(), sampling={"hard_negative_share": 0.5}),
    "retinanet": retinanet(tiny_2d(), scores={"kind": "focal"}, box_loss="giou"),
    "retinanet in 3D": retinanet(tiny_3d()),
}
every = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


@pytest.fixture(autouse=True)
def _cuda(monkeypatch):
    monkeypatch.setattr("pipeline.inference.detect.resolve_device", lambda device: device)
    monkeypatch.setattr("pipeline.inference.detect.computes_bf16", lambda device: False)  # autocast knows there is none
    monkeypatch.setattr(torch.random, "fork_rng", lambda **_: nullcontext())  # the generator of a GPU is none of ours


def cases_of(config: ExperimentConfig, folder) -> list[Case]:
    make = cube_in_volume if config.data.dims == 3 else field_with_masks if config.uses_masks else field_of_cells
    volumes = [make(folder, seed) for seed in range(2)]
    marks = [volume.annotations for volume in volumes]
    if config.data.grade is not None:
        marks = [replace(one, grades=np.linspace(0, 1, len(one))) for one in marks]
    return [Case.whole(replace(volume, annotations=one)) for volume, one in zip(volumes, marks, strict=True)]


def cube_in_volume(folder, seed):
    grid = Grid((24, 24, 16), np.diag([1.0, 1.0, 1.5, 1.0]))
    image = np.random.default_rng(seed).normal(0.2, 0.05, (1, *grid.shape)).astype(np.float32)
    image[0, 8:14, 8:14, 6:10] = 1
    return volume_with(folder, image, grid, Boxes(np.array([[7.5, 7.5, 5.5]]), np.array([[13.5, 13.5, 9.5]]), grid))


def settings_in(folder) -> Settings:
    return replace(Settings.from_environment(), home=folder)


@every
def test_a_training_step(config, tmp_path):
    cases = cases_of(config, tmp_path)
    prepared = prepare_cases(config, cases, settings_in(tmp_path))
    with PretendedGpu():
        assert _first_loss(config, seeded_network(config), prepared, GPU)().device == GPU
        module = training_module(config, seeded_network(config), prepared, Rank()).to(GPU)
        average = MovingAverage(0.9)
        module.on_fit_start()
        average.on_fit_start(None, module)
        optimiser = module.configure_optimizers()["optimizer"]
        dataset = PatchDataset(prepared, config)
        for number in range(2):
            batch = collate([dataset[2 * number], dataset[2 * number + 1]]).to(GPU)
            module.loss(batch).backward()
            module.configure_gradient_clipping(optimiser)
            optimiser.step()
            average.on_train_batch_end(None, module, None, batch, number)
            optimiser.zero_grad()
        module.guard.check()
        assert all(weight.device == GPU for weight in module.parameters())
        false_places(module.network.eval(), config, cases[0], prepared[0])
        module.rank = SimpleNamespace(gathered=list)
        module.validation_step(cases[0], 0)
        assert module._scored


@every
def test_a_detection(config):
    dims, channels = config.data.dims, config.preprocessing.channels
    shape = (100, 90) if dims == 2 else (50, 40, 20)
    grid = Grid.of_pixels(shape) if dims == 2 else Grid(shape, np.diag([1.0, 1.0, 1.5, 1.0]))
    image = np.random.default_rng(0).integers(0, 200, (channels, *shape), dtype=np.uint8)
    with PretendedGpu():
        for network in (seeded_network(config), Ensemble([seeded_network(config) for _ in range(2)])):
            detector = VolumeDetector(Bundle(config, network.eval(), 0.5), "cuda")
            assert len(detector.detect(image, grid, "v")) > 3
            assert next(detector.network.parameters()).device == GPU


def test_an_explanation(tmp_path):
    config = CONFIGS["boxes"]
    network = seeded_network(config).eval()
    with PretendedGpu():
        bundle, cases = Bundle(config, network, 0.001), cases_of(config, tmp_path)
        assert translation_report(bundle, cases, "cuda").cases
        explained = explain_cases(bundle, cases, "cuda")
        assert explained.hit or explained.false_positive


def test_tensors_of_two_devices_do_not_meet():
    with PretendedGpu():
        here, there = torch.ones(3), torch.ones(3).to(GPU)
        assert (there.device, (2 * there[1:]).device, there.cpu().device.type) == (GPU, GPU, "cpu")
        assert (there * torch.tensor(2.0)).tolist() == [2, 2, 2]
        for together in (lambda: here + there, lambda: torch.cat([here, there]), lambda: torch.nn.Linear(3, 1)(there)):
            with pytest.raises(RuntimeError, match="the same device"):
                together()
        with pytest.raises(RuntimeError, match="numpy"):
            np.asarray(there)
