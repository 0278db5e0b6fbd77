import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inference.suppression import suppress


def by_the_classic_loop(lower, upper, scores, iou, distance):
    order, kept = list(np.argsort(-scores, kind="stable")), []
    while order:
        best = order.pop(0)
        kept.append(best)
        rest = []
        for other in order:
            shared = np.clip(
                np.minimum(upper[best], upper[other]) - np.maximum(lower[best], lower[other]), 0, None
            ).prod()
            union = (upper[best] - lower[best]).prod() + (upper[other] - lower[other]).prod() - shared
            near = np.linalg.norm((lower[best] + upper[best] - lower[other] - upper[other]) / 2) < distance
            if shared <= iou * union and not near:
                rest.append(other)
        order = rest
    return kept


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.integers(0, 120), st.sampled_from([0.0, 3.0]))
def test_survivors_equal_those_of_the_classic_loop(seed, dims, count, distance):
    rng = np.random.default_rng(seed)
    lower = rng.uniform(0, 40, (count, dims))
    upper = lower + rng.lognormal(1.5, 0.8, (count, dims))
    scores = rng.choice([0.2, 0.5, 0.7, 0.9], count)  # ties on purpose
    assert suppress(lower, upper, scores, 0.3, distance).tolist() == by_the_classic_loop(
        lower, upper, scores, 0.3, distance
    )


def test_a_chain_keeps_its_ends():
    # a overlaps b, b overlaps c, a does not overlap c: b goes, c stays.
    lower = np.array([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]])
    survivors = suppress(lower, lower + np.array([8.0, 4.0]), np.array([0.9, 0.8, 0.7]), 0.2)
    assert survivors.tolist() == [0, 2]


def test_nothing_in_nothing_out():
    empty = np.zeros((0, 3))
    assert suppress(empty, empty, np.zeros(0), 0.5).tolist() == []


def test_no_cap_on_the_number_of_objects():
    i, j = np.meshgrid(np.arange(100) * 10.0, np.arange(100) * 10.0)
    lower = np.stack([i.ravel(), j.ravel()], axis=1)
    assert len(suppress(lower, lower + 9, np.linspace(0.1, 0.9, 10_000), 0.3)) == 10_000


def test_iou_of_exactly_the_limit_stays():
    lower = np.array([[0.0, 0.0], [2.0, 0.0]])
    survivors = suppress(lower, lower + np.array([4.0, 4.0]), np.array([0.9, 0.8]), 1 / 3)
    assert survivors.tolist() == pytest.approx([0, 1])
