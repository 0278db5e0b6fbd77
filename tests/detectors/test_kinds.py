"""What every kind of detector promises, in 2D and 3D."""

import logging

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.samples import Objects
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.detector import View
from pipeline.detectors.transfer import transfer
from pipeline.explanation.origin import find_origin
from pipeline.explanation.randomisation import cascade
from pipeline.explanation.receptive import output_receptive_field
from pipeline.explanation.saliency import saliency
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Grid
from pipeline.inference.detect import detect_prepared
from tests.experiments import tiny_2d, tiny_3d


def with_detector(config: ExperimentConfig, **detector: object) -> ExperimentConfig:
    raw = config.model_dump()
    raw["detector"] = detector
    raw["sampling"]["patch"] = [32, 32] if config.data.dims == 2 else [16, 16, 16]
    raw["inference"] |= {"suppression_iou": 0.2, "window": [48, 48] if config.data.dims == 2 else [24, 24, 16]}
    return ExperimentConfig.model_validate(raw)


def resnet(dims: int) -> dict[str, object]:
    return {"kind": "resnet", "depth": 10, "width": 8, "stages": 1, "first_stride": 1 if dims == 3 else (1, 2)}


def retinanet(config: ExperimentConfig, **changes: object) -> ExperimentConfig:
    dims = config.data.dims
    return with_detector(
        config,
        **{
            "kind": "retinanet",
            "backbone": resnet(dims),
            "output_level": 1,
            "pyramid_width": 16,
            "anchor_shapes": [[6] * dims, [10] * dims],
            **changes,
        },
    )


def centre(config: ExperimentConfig) -> ExperimentConfig:
    return with_detector(config, backbone=resnet(config.data.dims), decoder_width=16, output_level=0)


KINDS = {
    "centre 2d": centre(tiny_2d()),
    "centre 3d": centre(tiny_3d()),
    "retinanet 2d": retinanet(tiny_2d()),
    "retinanet 2d focal giou": retinanet(tiny_2d(), scores={"kind": "focal"}, box_loss="giou"),
    "retinanet 3d": retinanet(tiny_3d()),
}
every_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS.keys())
one_a_kind = pytest.mark.parametrize("config", [KINDS["centre 2d"], KINDS["retinanet 2d"]], ids=["centre", "retinanet"])


def objects(centres: list[list[float]], edge: float, dims: int, **changes: torch.Tensor) -> Objects:
    middle = torch.tensor(centres, dtype=torch.float32).view(-1, dims)
    given = {
        "labels": torch.zeros(len(middle), dtype=torch.long),
        "ignore": torch.zeros(len(middle), dtype=torch.bool),
    } | changes
    return Objects(middle - edge / 2, middle + edge / 2, **given)


def picture(centres: list[list[float]], edge: float, shape: tuple[int, ...]) -> torch.Tensor:
    """``(1, 1, …)``: bright cubes on a dark, slightly uneven ground."""
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0)) * 0.05
    axes = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    for middle in centres:
        inside = torch.stack([(axis - at).abs() <= edge / 2 for axis, at in zip(axes, middle, strict=True)]).all(0)
        image[0, 0][inside] += 1
    return image


def scene(dims: int) -> tuple[torch.Tensor, Objects]:
    centres = [[8.0, 9.0], [21.0, 24.0]] if dims == 2 else [[6.0, 9.0, 7.0]]
    return picture(centres, 7, (32, 32) if dims == 2 else (16, 16, 16)), objects(centres, 7.0, dims)


def total(network, image, batch):
    loss = network.loss(network(image), batch)
    return loss.score + loss.box + loss.label


@every_kind
def test_logits_and_boxes_are_of_the_same_places_and_candidates_are_among_them(config):
    network = seeded_network(config).eval()
    image, _ = scene(config.data.dims)
    view = View((4,) * config.data.dims, (64,) * config.data.dims)
    output = network(torch.cat([image, image + 0.3]))
    logits, boxes = network.logits(output), network.boxes(output, 1, view)
    assert [level[0].numel() for level in logits] == [len(lower) for lower, _ in boxes]
    found = network.candidates(output, [view, view], 1e-3)[1]
    assert len(found.scores) > 0
    said = torch.cat([level[1].flatten() for level in logits]).sigmoid()
    lower, upper = (torch.cat(sides) for sides in zip(*boxes, strict=True))
    for n in range(0, len(found.scores), 7):
        same = (
            torch.isclose(said, found.scores[n], rtol=1e-5, atol=0)
            & (lower == found.lower[n]).all(1)
            & (upper == found.upper[n]).all(1)
        )
        assert same.any()


@every_kind
def test_every_weight_learns_from_a_patch_with_an_object_and_one_without(config):
    network, dims = seeded_network(config), config.data.dims
    image, there = scene(dims)
    total(network, torch.cat([image, image * 0.9]), [there, objects([], 7, dims)]).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


@every_kind
def test_patches_without_objects_give_a_finite_loss_and_no_box_to_learn(config):
    network, dims = seeded_network(config), config.data.dims
    image, _ = scene(dims)
    loss = network.loss(network(torch.cat([image, image])), [objects([], 7, dims)] * 2)
    assert torch.isfinite(loss.score)
    assert (loss.box.item(), loss.label.item()) == (0, 0)


@every_kind
def test_a_voxel_that_is_no_number_gives_a_loss_that_is_none_and_no_error(config):
    network = seeded_network(config)
    image, there = scene(config.data.dims)
    image[0, 0].flatten()[70] = float("nan")
    assert not torch.isfinite(total(network, image, [there]))


@every_kind
def test_counts_are_shared_as_often_whatever_the_loss_is(config):
    """Of processes that train together each waits for all others there."""
    network, asked = seeded_network(config), []
    image, there = scene(config.data.dims)
    for value in (0.0, float("nan")):
        image[0, 0].flatten()[70] = value
        asked.append([])
        network.loss(network(image), [there], divisor=lambda count: asked[-1].append(count) or count.clamp(min=1))
    assert len(asked[0]) == len(asked[1]) > 0


@every_kind
def test_after_short_training_each_object_of_a_phantom_is_found_once_where_it_is(config):
    dims = config.data.dims
    network = seeded_network(config)
    image, there = scene(dims)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = total(network, torch.cat([image, image.flip(2)]), [there, flipped(there, image.shape[2])])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    shape = tuple(image.shape[2:])
    grid = Grid.of_pixels(shape) if dims == 2 else Grid(shape, np.eye(4))
    found = detect_prepared(network.eval(), config, image[0], grid, grid, "v")
    sure = found.boxes.centres[found.scores > 0.5]
    expected = ((there.lower + there.upper) / 2).numpy()
    assert len(sure) == len(expected)
    assert np.linalg.norm(sure[:, None] - expected[None], axis=2).min(axis=0).max() < 1.5


def flipped(there: Objects, size: int) -> Objects:
    lower, upper = there.lower.clone(), there.upper.clone()
    lower[:, 0], upper[:, 0] = size - 1 - there.upper[:, 0], size - 1 - there.lower[:, 0]
    return Objects(lower, upper, there.labels, there.ignore)


@every_kind
def test_same_weights_and_batch_give_the_same_loss_whatever_was_drawn_before(config):
    network = seeded_network(config).eval()
    image, there = scene(config.data.dims)
    torch.manual_seed(1)
    first = total(network, image, [there])
    torch.rand(5)
    assert torch.equal(first, total(network, image, [there]))


@one_a_kind
def test_two_thousand_objects_are_two_thousand_candidates(config):
    """MONAI's own selector keeps the best 1000 of a level and 300 of an image."""
    network = seeded_network(config).eval()
    output = network(torch.zeros(1, 1, 400, 400))
    raw = getattr(output, "score", None)
    finest = output.logits[0] if raw is None else raw
    with torch.no_grad():
        finest.fill_(-9.0)
        at = [torch.arange(0, 90, 2)] * 2
        cells = tuple(axis.flatten() for axis in torch.meshgrid(*at, indexing="ij"))
        finest[(0, *cells) if raw is not None else (0, *cells, 0, 0)] = 4.0
    found = network.candidates(output, [View((0, 0), (400, 400))], 0.5)[0]
    assert len(found.scores) == 45 * 45


@one_a_kind
def test_a_bundle_comes_back_and_its_weights_are_the_start_of_another(config, tmp_path):
    Bundle(config, seeded_network(config), 0.3).save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert (loaded.config, loaded.threshold) == (config, 0.3)
    raw = config.model_dump()
    raw["seed"], raw["data"]["classes"] = 5, ["a", "b"]
    config = ExperimentConfig.model_validate(raw)
    other = seeded_network(config)
    assert 0.8 < transfer(loaded, other, config).share < 1
    assert torch.equal(other.backbone.conv1.weight, loaded.network.backbone.conv1.weight)


def test_a_detection_of_a_retinanet_is_traced_to_its_anchor_and_explained():
    config = KINDS["retinanet 2d"]
    network = seeded_network(config).eval()
    with torch.no_grad():
        network.score_head.cls_logits.bias.fill_(1.0)
    image, _ = scene(2)
    grid = Grid.of_pixels((32, 32))
    scan = NetworkScan(image[0], grid, grid)
    found = detect_prepared(network, config, image[0], grid, grid, "v")
    origin = find_origin(network, config, scan, found, 0)
    told = saliency(network, origin, (2,))
    assert torch.sigmoid(torch.tensor(told.logit)).item() == pytest.approx(found.scores[0], abs=1e-5)
    assert told.values.shape == (32, 32)
    assert [name for name, _ in cascade(network, 0, image[0])][:2] == ["output layer", "decoder"]
    assert all(field > stride for field, stride in zip(output_receptive_field(network), network.stride, strict=True))


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_are_asked_for_only_where_something_scores_and_are_then_the_same(dims, monkeypatch):
    config = KINDS[f"retinanet {dims}d"]
    network = seeded_network(config).eval()
    asked = []
    monkeypatch.setattr(network.box_head.conv, "forward", counted(network.box_head.conv.forward, asked))
    image, _ = scene(dims)
    view = View((0,) * dims, tuple(image.shape[2:]))
    with torch.inference_mode():
        whole = network(image)
        highest = max(float(torch.sigmoid(level).max()) for level in whole.logits)
        asked.clear()
        (none,) = network.look(image, [view], highest * 1.01)
        assert not asked
        assert len(none.scores) == 0
        (some,) = network.look(image, [view], highest * 0.5)
        assert asked
    (expected,) = network.candidates(whole, [view], highest * 0.5)
    assert len(some.scores) == len(expected.scores) > 0
    assert torch.equal(some.lower, expected.lower)


def counted(forward, calls):
    def call(image):
        calls.append(image.shape)
        return forward(image)

    return call


def test_making_a_detector_leaves_the_programs_logging_as_it_was(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    seeded_network(KINDS["retinanet 2d"])
    assert logging.getLogger().handlers == []
