"""Greedy and optimal assignment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from pipeline.config.evaluation import BoxOverlap, CentreDistance
from pipeline.evaluation import assignment, match_case
from pipeline.evaluation.assignment import greedy, optimal
from pipeline.evaluation.pairs import Pairs


def pairs_of(table: list[list[float | None]]) -> Pairs:
    """A row a detection, highest score first; costs, `None` where not allowed."""
    entries = [
        (row, column, cost)
        for row, costs in enumerate(table)
        for column, cost in sorted(enumerate(costs), key=lambda one: (one[1] is None, one[1]))
        if cost is not None
    ]
    columns = np.array(entries, dtype=float).reshape(-1, 3).T
    return Pairs(columns[0].astype(int), columns[1].astype(int), columns[2])


def test_greedy_lets_the_higher_score_choose_and_optimal_makes_room():
    """The first would take object 0, the only one the second may have."""
    pairs = pairs_of([[1.0, 2.0], [1.0, None]])
    assert greedy(pairs, 2, 2).tolist() == [0, -1]
    assert optimal(pairs, 2, 2).tolist() == [1, 0]


def test_of_two_detections_for_one_object_the_higher_score_finds_it():
    pairs = pairs_of([[5.0], [1.0]])
    assert optimal(pairs, 2, 1).tolist() == greedy(pairs, 2, 1).tolist() == [0, -1]


def test_of_equally_many_the_cheaper_pairs_are_taken():
    """Both find something either way: 1 + 1 instead of 0.5 + 4."""
    pairs = pairs_of([[0.5, 1.0], [1.0, 4.0]])
    assert optimal(pairs, 2, 2).tolist() == [1, 0]


def test_room_is_made_along_a_chain():
    """Detection 3 moves 2, 2 moves 1, 1 moves 0."""
    pairs = pairs_of([[0.0, 9.0, None, None], [None, 0.0, 9.0, None], [None, None, 0.0, 9.0], [0.0, None, None, None]])
    assert optimal(pairs, 4, 4).tolist() == [1, 2, 3, 0]


def test_nothing_allowed_finds_nothing():
    for assign in (greedy, optimal):
        assert assign(Pairs.none(), 2, 3).tolist() == [-1, -1]
        assert assign(Pairs.none(), 0, 0).tolist() == []


@st.composite
def tables(draw) -> list[list[float | None]]:
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    cell = st.one_of(st.none(), st.integers(0, 9).map(float))
    return draw(st.lists(st.lists(cell, min_size=columns, max_size=columns), min_size=rows, max_size=rows))


def most(table: list[list[float | None]], rows: list[int]) -> tuple[int, float]:
    """How many of these detections can find something at once, and the least total cost of that."""
    dear = 1000.0
    costs = np.array([[dear if cost is None else cost for cost in table[row]] for row in rows])
    taken = costs[linear_sum_assignment(costs)]
    return int((taken < dear).sum()), float(taken[taken < dear].sum())


@settings(max_examples=150, deadline=None)
@given(tables())
def test_at_every_threshold_as_many_are_found_as_can_be_and_at_the_least_cost(table):
    found = optimal(pairs_of(table), len(table), len(table[0]))
    for threshold in range(1, len(table) + 1):
        assert (found[:threshold] >= 0).sum() == most(table, list(range(threshold)))[0]
    hits = np.flatnonzero(found >= 0)
    assert len(set(found[hits])) == len(hits)
    if len(hits):
        costs = [table[row][found[row]] for row in hits]
        assert None not in costs
        assert sum(costs) == pytest.approx(most(table, hits.tolist())[1])


@settings(max_examples=40, deadline=None)
@given(tables())
def test_sparse_solver_agrees_with_the_dense_one(table):
    pairs = pairs_of(table)

    def total(found: np.ndarray) -> float:
        return sum(table[row][column] for row, column in enumerate(found) if column >= 0)

    dense = optimal(pairs, len(table), len(table[0]))
    limit, assignment._DENSE = assignment._DENSE, 0
    try:
        sparse = optimal(pairs, len(table), len(table[0]))
    finally:
        assignment._DENSE = limit
    assert total(sparse) == pytest.approx(total(dense))
    assert ((sparse >= 0) == (dense >= 0)).all()


def test_scan_where_greedy_loses_an_object(scan):
    """.9 lies between both and nearer to the one that .8 alone can reach."""
    case = scan("a", [((50, 50),), ((50, 59),)], [((50, 54), 0.9), ((50, 46), 0.8)])
    assert match_case(case, CentreDistance(distance=6)).hit.tolist() == [True, False]
    assert match_case(case, CentreDistance(distance=6, assignment="optimal")).found.tolist() == [1, 0]


def test_four_thousand_crowded_objects_in_one_component(scan):
    places = [(8.0 * i, 8.0 * j) for i in range(64) for j in range(64)]
    rng = np.random.default_rng(0)
    found = [
        (tuple(np.array(place) + rng.normal(0, 2, 2)), score)
        for place, score in zip(places, rng.random(4096), strict=True)
    ]
    case = scan("a", [(place,) for place in places], found)
    best = match_case(case, BoxOverlap(iou=0.1, assignment="optimal")).hit.sum()
    assert match_case(case, BoxOverlap(iou=0.1)).hit.sum() < best == 4096
