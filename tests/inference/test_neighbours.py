import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference import neighbours as module
from pipeline.inference.neighbours import neighbours


def listed(centre, size, iou, distance):
    pairs = [np.sort(np.stack(pair, axis=1), axis=1) for pair in neighbours(centre, size, iou, distance)]
    return [tuple(pair) for pair in np.concatenate([np.zeros((0, 2), int), *pairs]).tolist()]


def wanted(centre, size, iou, distance):
    """Every pair that shares more than ``iou`` or is nearer than ``distance``, by comparing all with all."""
    found = set()
    for a in range(len(centre)):
        for b in range(a + 1, len(centre)):
            low = np.maximum(centre[a] - size[a] / 2, centre[b] - size[b] / 2)
            up = np.minimum(centre[a] + size[a] / 2, centre[b] + size[b] / 2)
            inner = np.clip(up - low, 0, None).prod()
            union = size[a].prod() + size[b].prod() - inner
            if inner > iou * union or np.linalg.norm(centre[a] - centre[b]) < distance:
                found.add((a, b))
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from([2, 3]),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
    st.sampled_from([0.0, 3.0]),
)
def test_no_pair_is_missed_and_none_comes_twice(seed, dims, count, iou, distance):
    rng = np.random.default_rng(seed)
    centre = rng.uniform(-20, 20, (count, dims)) * rng.choice([1.0, 0.1, 3.0], dims)
    size = rng.lognormal(1.5, 0.8, (count, dims))
    pairs = listed(centre, size, iou, distance)
    assert len(pairs) == len(set(pairs))
    assert wanted(centre, size, iou, distance) <= set(pairs)


def test_pairs_that_come_in_many_portions_are_the_same_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    centre, size = rng.uniform(0, 30, (200, 3)), rng.uniform(2, 12, (200, 3))
    whole = sorted(listed(centre, size, 0.2, 0.0))
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    assert sorted(listed(centre, size, 0.2, 0.0)) == whole


def test_a_giant_does_not_make_neighbours_of_small_boxes_that_cannot_share_much_with_it():
    centre = np.stack([np.arange(100) * 10.0, np.zeros(100)], axis=1)
    size = np.full((100, 2), 4.0)
    size[0] = 2000.0
    assert listed(centre, size, 0.3, 0.0) == []


@pytest.mark.parametrize("far", [1e6, 1e12])
def test_boxes_without_extent_far_apart_are_numbered_without_overflow(far):
    centre = np.array([[0.0, 0.0, 0.0], [far, far, far], [far, far, far]])
    assert (1, 2) in listed(centre, np.full((3, 3), 1e-9), 0.5, 0.0)


def test_boxes_whose_edges_share_just_more_than_asked_are_looked_at():
    # Edges of 10, 8 apart: they share 2 of 18, 0.111.
    centre, size = np.array([[0.0, 0.0], [8.0, 0.0]]), np.full((2, 2), 10.0)
    assert listed(centre, size, 0.11, 0.0) == [(0, 1)]
