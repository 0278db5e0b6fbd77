import numpy as np
import pytest

from pipeline.config.transforms import SamplingConfig
from pipeline.datasets.places import Places
from pipeline.datasets.prepared import PreparedCase
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid

GRID = Grid((100, 80), np.diag([0.5, 0.5, 1.0]))


def case(labels, ignore=None) -> PreparedCase:
    """Objects 10 voxels apart along i, in a row of its own."""
    centres = np.array([[10.0 * (n + 1), 40.0] for n in range(len(labels))]).reshape(-1, 2)
    ignored = np.zeros(len(labels), dtype=bool) if ignore is None else np.array(ignore)
    image = np.zeros((1, *GRID.shape), dtype=np.float16)
    return PreparedCase(image, Boxes.around(centres, np.full(2, 4.0), GRID), np.array(labels, dtype=np.int64), ignored)


def drawn(cases, count=2000, hard=None, **config) -> list[tuple[int, float]]:
    """The case of each place, and the object there."""
    places = Places(cases, SamplingConfig(patch=(32, 32), samples_per_epoch=1, **config))
    if hard is not None:
        places.set_hard_negatives(hard)
    found = [places.draw(np.random.default_rng(seed)) for seed in range(count)]
    return [(one.case, round(float(one.centre[0]), 3)) for one in found]


FEW_AND_MANY = [case([0, 0, 0, 0, 0, 0, 0, 1]), case([0]), case([])]


def share(found, condition) -> float:
    return sum(condition(*one) for one in found) / len(found)


def test_volumes_count_evenly_and_those_without_objects_not_at_all():
    found = drawn(FEW_AND_MANY, object_share=1.0)
    assert share(found, lambda at, _: at == 1) == pytest.approx(0.5, abs=0.05)
    assert {at for at, _ in found} == {0, 1}


def test_objects_count_evenly_where_asked():
    found = drawn(FEW_AND_MANY, object_share=1.0, each_counts="object")
    assert share(found, lambda at, _: at == 1) == pytest.approx(1 / 9, abs=0.04)


@pytest.mark.parametrize(("balance", "expected"), [(0.0, 1 / 9), (1.0, 0.5), (0.5, 0.5 * (1 / 9 + 0.5))])
def test_a_rare_class_is_drawn_as_often_as_balance_asks(balance, expected):
    found = drawn(FEW_AND_MANY, object_share=1.0, each_counts="object", class_balance=balance)
    assert share(found, lambda at, i: (at, i) == (0, 80.0)) == pytest.approx(expected, abs=0.04)


def test_ignored_objects_are_nobody_s_centre_and_unknown_classes_can_be():
    found = drawn([case([-1, 0, 0], [False, True, False])], object_share=1.0, class_balance=0.5, count=200)
    assert {i for _, i in found} == {10.0, 30.0}


def test_scans_without_any_object_are_drawn_anywhere():
    found = drawn([case([]), case([0], [True])], object_share=1.0, class_balance=1.0, count=100)
    assert len(set(found)) == 100
    assert all(15.5 <= i <= 83.5 for _, i in found)


def test_object_share_is_of_all_patches():
    found = drawn([case([0])], object_share=0.7)
    assert share(found, lambda _, i: i == 10.0) == pytest.approx(0.7, abs=0.04)


def test_hard_negatives_take_their_share_once_there_are_any():
    hard = [np.zeros((0, 2)), np.array([[30.25, 10.0]]), np.zeros((0, 2))]  # world: voxel 60.5 of the second case
    config = {"object_share": 0.5, "hard_negative_share": 0.4}
    with_them = drawn(FEW_AND_MANY, hard=hard, **config)
    assert share(with_them, lambda at, i: (at, i) == (1, 60.5)) == pytest.approx(0.4, abs=0.04)
    near_objects = share(with_them, lambda _, i: i in {10.0 * n for n in range(1, 9)})
    assert near_objects == pytest.approx(0.5 * 0.6, abs=0.04)
    without = drawn(FEW_AND_MANY, **config)
    assert without == drawn(FEW_AND_MANY, object_share=0.5)
    assert without == drawn(FEW_AND_MANY, hard=[np.zeros((0, 2))] * 3, **config)
    assert with_them == drawn(FEW_AND_MANY, hard=hard, **config)


def test_hard_negatives_of_other_cases_are_refused():
    with pytest.raises(DatasetError, match="expected places for each of 3 cases, got 1"):
        drawn(FEW_AND_MANY, hard=[np.zeros((0, 2))])
