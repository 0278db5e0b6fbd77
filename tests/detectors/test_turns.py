import itertools

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.detector import Detector, View
from pipeline.detectors.maps import Maps, averaged
from pipeline.detectors.rays import directions
from pipeline.detectors.turns import UPRIGHT, Turn, turns_of
from pipeline.geometry import Grid
from pipeline.inference.detect import detect_prepared
from tests.experiments import tiny_2d, tiny_3d, tiny_star
from tests.inference.test_detect import FindsMarks

ALL_2D = [Turn(swap, flips) for swap in (False, True) for flips in ((), (0,), (1,), (0, 1))]


def viewed(config, views, **augmentation):
    raw = config.model_dump()
    raw["augmentation"] |= augmentation
    raw["inference"]["views"] = views
    return ExperimentConfig.model_validate(raw)


def test_an_experiment_seen_once_keeps_its_digest():
    assert viewed(tiny_2d(), "none").digest() == tiny_2d().digest()
    assert viewed(tiny_2d(), "flips").digest() != tiny_2d().digest()


def test_flips_are_those_that_training_made():
    assert turns_of(tiny_2d()) == (UPRIGHT,)
    assert turns_of(viewed(tiny_2d(), "flips", flip=[1])) == (UPRIGHT, Turn(flips=(1,)))
    assert len(turns_of(viewed(tiny_3d(), "flips", flip=[0, 1, 2]))) == 8


@pytest.mark.parametrize(("flip", "count"), [([], 4), ([0], 8), ([0, 1], 8)])
def test_quarter_turns_and_flips_are_each_made_once(flip, count):
    turns = turns_of(viewed(tiny_2d(), "dihedral", flip=flip, rotate90=True))
    image = torch.arange(6.0).view(2, 3)
    assert len({tuple(turn.of(image, 2).flatten().tolist()) for turn in turns}) == len(turns) == count
    assert turns[0] == UPRIGHT


def test_a_third_axis_is_flipped_beside_the_quarter_turns():
    config = viewed(tiny_3d(), "dihedral", flip=[0, 1, 2], rotate90=True)
    assert len(set(turns_of(config))) == 16


@pytest.mark.parametrize(
    ("views", "augmentation", "message"),
    [("flips", {"flip": []}, "names none"), ("dihedral", {"rotate90": False}, "seen no turned patch")],
)
def test_views_that_training_never_showed_are_refused(views, augmentation, message):
    with pytest.raises(ValueError, match=message):
        viewed(tiny_2d(), views, **augmentation)


def test_quarter_turns_are_refused_where_strides_differ():
    raw = viewed(tiny_3d(), "none", rotate90=True).model_dump()
    raw["detector"]["backbone"]["strides"] = [[2, 1, 1]]
    raw["inference"]["views"] = "dihedral"
    with pytest.raises(ValueError, match="must be equal along both"):
        ExperimentConfig.model_validate(raw)


@pytest.mark.parametrize("turn", ALL_2D)
def test_a_turned_image_comes_back(turn):
    image = torch.rand(2, 3, 4, 6)
    assert torch.equal(turn.back(turn.of(image, 2), 2), image)


@pytest.mark.parametrize("turn", ALL_2D)
def test_rays_are_found_where_the_turn_takes_them(turn):
    way = directions(16)
    taken = way[:, ::-1] if turn.swap else way
    taken = taken * np.array([-1 if axis in turn.flips else 1 for axis in (0, 1)])
    assert way[turn.rays(16)] == pytest.approx(taken)


def test_sides_of_a_box_are_found_where_the_turn_takes_them():
    # Lower i, lower j, lower k, upper i, upper j, upper k are 0 … 5 in the turned image.
    assert Turn(flips=(0,)).sides(3) == [3, 1, 2, 0, 4, 5]
    assert Turn(swap=True).sides(3) == [1, 0, 2, 4, 3, 5]
    # i lies along the turned j, not reversed; j along the turned i, reversed.
    assert Turn(True, (0,)).sides(2) == [1, 2, 3, 0]


@pytest.mark.parametrize("config", [tiny_2d(), tiny_star(), tiny_3d()], ids=["box", "star", "volume"])
def test_what_a_network_says_in_all_turns_is_averaged_as_by_a_plain_loop(config):
    dims = config.data.dims
    network = seeded_network(config).eval()
    image = torch.rand(2, 1, *(16, 24, 8)[:dims])
    turns = [Turn(swap, flips) for swap in (False, True) for flips in ((), (0,), (dims - 1,))]
    maps = [network._turned_back(network(turn.of(image, dims)), turn) for turn in turns]
    mean = averaged(maps)
    score = sum(torch.sigmoid(one.score.double()) for one in maps) / len(maps)
    classes = sum(torch.softmax(one.classes.double(), dim=1) for one in maps) / len(maps)
    distances = sum(one.distances.double() for one in maps) / len(maps)
    assert torch.allclose(torch.sigmoid(mean.score).double(), score, atol=1e-6)
    assert torch.allclose(torch.exp(mean.classes).double(), classes, atol=1e-6)
    assert torch.allclose(mean.distances.double(), distances, atol=1e-5)
    views = [View((0,) * dims, tuple(image.shape[2:]))] * 2
    looked, plain = network.look(image, views, 0.01, turns), network.candidates(mean, views, 0.01)
    assert all(torch.equal(a.scores, b.scores) for a, b in zip(looked, plain, strict=True))
    assert all(torch.equal(a.lower, b.lower) for a, b in zip(looked, plain, strict=True))


def test_the_mean_of_sure_scores_does_not_overflow():
    maps = [Maps(torch.tensor([value]), torch.zeros(1, 1), torch.zeros(1, 1)) for value in (-200.0, -200.0, 200.0)]
    # 1 of 3 is certain: the probability is a third.
    assert torch.sigmoid(averaged(maps).score)[0] == pytest.approx(1 / 3)
    assert averaged(maps[:2]).score[0] == -200.0


def marks(config, shape, spots):
    image = torch.zeros(1, *shape)
    for spot in spots:
        image[(0, *spot)] = 1
    return image, Grid.of_pixels(shape) if len(shape) == 2 else Grid(shape, np.eye(4), "mm")


@pytest.mark.parametrize("views", ["flips", "dihedral"])
@pytest.mark.parametrize("config", [tiny_2d(), tiny_3d()], ids=["2d", "3d"])
def test_a_network_that_does_not_mind_turns_gives_the_same_detections(config, views):
    dims = config.data.dims
    config = viewed(config, "none", flip=list(range(dims)), rotate90=True)
    network = FindsMarks(config).eval()
    shape = (75, 43, 21)[:dims]  # windows reach beyond the end
    spots = list(itertools.product(range(5, 75, 9), range(4, 43, 9), *[range(3, 21, 8)] * (dims - 2)))
    image, grid = marks(config, shape, spots)
    once = detect_prepared(network, config, image, grid, grid, "v")
    turned = detect_prepared(network, viewed(config, views), image, grid, grid, "v")
    assert len(once) == len(spots)
    order, other = (np.lexsort(found.boxes.lower.T) for found in (once, turned))
    assert turned.boxes.lower[other] == pytest.approx(once.boxes.lower[order], abs=1e-4)
    assert turned.scores == pytest.approx(once.scores, abs=1e-5)


class Pools(FindsMarks):
    """A kind whose candidates are pooled, not averaged."""

    look = Detector.look


@pytest.mark.parametrize("config", [tiny_2d(), tiny_3d()], ids=["2d", "3d"])
def test_pooled_candidates_of_all_turns_lie_on_the_objects(config):
    dims = config.data.dims
    config = viewed(config, "dihedral", flip=list(range(dims)), rotate90=True)
    shape = (75, 43, 21)[:dims]
    spots = [(1, 2, 3)[:dims], (74, 42, 20)[:dims], (40, 21, 10)[:dims]]
    image, grid = marks(config, shape, spots)
    pooled = detect_prepared(Pools(config).eval(), config, image, grid, grid, "v")
    plain = detect_prepared(FindsMarks(config).eval(), viewed(config, "none"), image, grid, grid, "v")
    order, other = (np.lexsort(found.boxes.lower.T) for found in (plain, pooled))
    assert pooled.boxes.lower[other] == pytest.approx(plain.boxes.lower[order], abs=1e-4)
    assert pooled.boxes.upper[other] == pytest.approx(plain.boxes.upper[order], abs=1e-4)


def test_pooled_boxes_and_outlines_are_turned_back_with_their_sides():
    config = tiny_star()
    network = seeded_network(config).eval()
    image = torch.rand(1, 1, 16, 24)
    view = View((8, 4), (20, 27))  # reaches 4 and 1 voxels beyond the end
    for turn in ALL_2D:
        (found,) = Detector.look_through(network, network, image, [view], 0.001, [turn])
        (plain,) = network.candidates(network._turned_back(network(turn.of(image, 2)), turn), [view], 0.001)
        order, other = (np.lexsort(one.at.numpy().T) for one in (found, plain))
        assert found.at.numpy()[order] == pytest.approx(plain.at.numpy()[other], abs=1e-4)
        assert found.lower.detach().numpy()[order] == pytest.approx(plain.lower.detach().numpy()[other], abs=1e-3)
        ours, theirs = (one.outlines.detach().numpy() for one in (found, plain))
        assert ours[order].mean(axis=1) == pytest.approx(theirs[other].mean(axis=1), abs=1e-3)
