"""Which detection finds which object."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.evaluation import BoxOverlap, CentreDistance, CentreInLesion
from pipeline.detections import Detections
from pipeline.errors import DatasetError
from pipeline.evaluation import ScoredCase, match_case
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

SIX = CentreDistance(distance=6.0)


def test_second_detection_of_one_object_is_false(scan):
    matches = match_case(scan("a", [(1,)], [(1, 0.9), (1, 0.8)]), SIX)
    assert matches.found.tolist() == [0, -1]
    assert matches.false.tolist() == [False, True]


def test_higher_score_finds_the_object_even_from_farther_away(scan):
    matches = match_case(scan("a", [((50, 50),)], [((50, 50), 0.8), ((50, 55), 0.9)]), SIX)
    assert matches.found.tolist() == [0, -1]  # detections come highest score first


def test_detection_takes_the_nearest_object(scan):
    matches = match_case(scan("a", [((50, 50),), ((50, 54),)], [((50, 53), 0.9)]), SIX)
    assert matches.found.tolist() == [1]
    assert matches.missed.tolist() == [0]


def test_taken_object_leaves_the_next_nearest(scan):
    matches = match_case(scan("a", [((50, 50),), ((50, 54),)], [((50, 54), 0.9), ((50, 53), 0.8)]), SIX)
    assert matches.found.tolist() == [1, 0]


def test_equal_scores_match_the_nearest_pair_first_in_any_order(scan):
    near, far = ((50, 51), 0.5), ((50, 55), 0.5)
    for detections in ([near, far], [far, near]):
        case = scan("a", [((50, 50),)], detections)
        found = match_case(case, SIX).found
        assert case.detections.boxes.centres[found == 0].tolist() == [[50, 51]]


def test_class_does_not_decide_what_is_found(scan):
    matches = match_case(scan("a", [(1, "tumour")], [(1, 0.9, "other")]), SIX)
    assert matches.found.tolist() == [0]


def test_ignored_object_swallows_any_number_and_is_never_missed(scan):
    matches = match_case(scan("a", [(1,)], [(1, 0.9), (1, 0.8), (3, 0.7)], ignore=[0]), SIX)
    assert matches.swallowed.tolist() == [True, True, False]
    assert matches.false.tolist() == [False, False, True]
    assert matches.objects == 0
    assert matches.missed.tolist() == []


def test_counted_object_comes_before_a_nearer_ignored_one(scan):
    case = scan("a", [((50, 50),), ((50, 54),)], [((50, 51), 0.9)], ignore=[0])
    matches = match_case(case, SIX)
    assert matches.found.tolist() == [1]
    assert not matches.swallowed.any()


@pytest.mark.parametrize(("across_mm", "found"), [(6.0, True), (6.001, False)])
def test_distance_is_in_millimetres_and_its_edge_is_inside(scan, across_mm, found):
    """Voxels of 0.1 x 0.5 x 3 mm, turned by 30 degrees: 6 mm are 60, 12 or 2 voxels."""
    turn = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6), 0], [np.sin(np.pi / 6), np.cos(np.pi / 6), 0], [0, 0, 1]])
    spacing = np.array([0.1, 0.5, 3.0])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = (-71.3, 12.9, 400.1)
    grid = Grid((200, 200, 40), affine)
    for axis in range(3):
        there = np.array([20.0, 20.0, 20.0])
        there[axis] += across_mm / spacing[axis]
        case = scan("a", [((20, 20, 20),)], [(tuple(there), 0.9)], grid=grid)
        assert match_case(case, SIX).hit.tolist() == [found]


@pytest.mark.parametrize(("away_mm", "found"), [(14.9, True), (15.1, False)])
def test_lesion_radius_is_half_its_largest_world_edge(scan, away_mm, found):
    """Boxes of 10 voxels at 1 x 1 x 3 mm: edges 10, 10, 30 mm, so the radius is 15 mm in every direction."""
    grid = Grid((100, 100, 40), np.diag([1.0, 1.0, 3.0, 1.0]))
    case = scan("a", [((50, 50, 20),)], [((50 + away_mm, 50, 20), 0.9)], grid=grid)
    assert match_case(case, CentreInLesion()).hit.tolist() == [found]


@pytest.mark.parametrize(("shift", "found"), [(10 / 3, True), (10 / 3 + 0.01, False)])
def test_box_overlap_of_exactly_the_iou_is_a_match(scan, shift, found):
    """Two 10 x 10 boxes shifted by 10/3 share 66.7 of 133.3: an IoU of exactly 1/2."""
    case = scan("a", [((50, 50),)], [((50 + shift, 50), 0.9)])
    assert match_case(case, BoxOverlap(iou=0.5)).hit.tolist() == [found]


def test_box_overlap_takes_the_larger_overlap(scan):
    case = scan("a", [((50, 50),), ((50, 53),)], [((50, 52), 0.9)])
    assert match_case(case, BoxOverlap(iou=0.25)).found.tolist() == [1]


def test_no_object_and_no_detection_match_nothing(scan):
    for rule in (SIX, CentreInLesion(), BoxOverlap(iou=0.5)):
        assert match_case(scan("a"), rule).found.tolist() == []
        assert match_case(scan("a", [(1,)]), rule).missed.tolist() == [0]
        assert match_case(scan("a", [], [(1, 0.5)]), rule).false.tolist() == [True]


@pytest.mark.parametrize("rule", [CentreInLesion(), BoxOverlap(iou=0.5)])
def test_rule_that_needs_sizes_refuses_points(scan, rule):
    with pytest.raises(DatasetError, match=f"case a: match rule {rule.kind} needs annotated sizes.*centre_distance"):
        match_case(scan("a", [(1,)], from_points=True), rule)


def test_grids_that_differ_are_refused(scan):
    one, other = scan("a"), scan("a", grid=Grid((1000, 1000), np.diag([0.5, 0.5, 1.0])))
    with pytest.raises(
        DatasetError, match=r"case a: annotations lie on a grid of .* px and detections on one of .* mm"
    ):
        match_case(ScoredCase("a", "p", one.annotations, other.detections), SIX)


def by_hand(case: ScoredCase, allowed: np.ndarray, cost: np.ndarray) -> list[int]:
    """The rule, written out: each detection looks through all objects. Scores must differ."""
    free = list(range(len(case.annotations)))
    found = []
    for detection in range(len(case.detections)):
        options = [index for index in free if allowed[detection, index]]
        best = min(options, key=lambda index: cost[detection, index], default=-1)
        found.append(best)
        free = [index for index in free if index != best]
    return found


def crowd(seed: int, objects: int, detections: int, dims: int) -> ScoredCase:
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(0.5, 3, dims)
    grid = Grid((50,) * dims, np.diag([*spacing, 1.0]))
    there = Boxes.around(rng.uniform(0, 50, (objects, dims)), rng.uniform(2, 20, (objects, dims)), grid)
    scores = rng.permutation(detections) / max(detections, 1)
    found = Boxes.around(rng.uniform(0, 50, (detections, dims)), rng.uniform(2, 20, (detections, dims)), grid)
    labels = np.zeros(detections, dtype=np.int64)
    return ScoredCase(
        "crowd", "p", Annotations.of(there, ("x",) * objects), Detections("crowd", found, scores, labels, ("x",))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 25), st.integers(0, 25), st.sampled_from([2, 3]))
def test_neighbour_search_agrees_with_looking_through_all(seed, objects, detections, dims):
    case = crowd(seed, objects, detections, dims)
    there, found = case.annotations.boxes, case.detections.boxes
    apart = np.linalg.norm(found.centres_world[:, None] - there.centres_world[None], axis=2)
    radius = there.sizes_world.max(axis=1, initial=0) / 2
    overlap = found.iou(there)
    for rule, allowed, cost in (
        (CentreDistance(distance=20.0), apart <= 20, apart),
        (CentreInLesion(), apart <= radius[None], apart),
        (BoxOverlap(iou=0.1), overlap >= 0.1, -overlap),
        (BoxOverlap(iou=0.5), overlap >= 0.5, -overlap),
    ):
        assert match_case(case, rule).found.tolist() == by_hand(case, allowed, cost)


def test_two_thousand_objects_are_all_found(scan):
    """No cap: a detection on every one of 2,025 objects, 20 px apart."""
    places = [(20.0 * i, 20.0 * j) for i in range(45) for j in range(45)]
    scores = np.random.default_rng(0).random(len(places))
    case = scan("a", [(place,) for place in places], list(zip(places, scores, strict=True)))
    matches = match_case(case, SIX)
    assert matches.hit.sum() == 2025
    assert matches.missed.tolist() == []
