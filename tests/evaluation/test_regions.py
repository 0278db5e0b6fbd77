"""Distances with a unit, ignored regions, classes apart, confusion and the Jaccard index."""

import numpy as np
import pytest

from pipeline.config.evaluation import BoxOverlap, CentreDistance, CentreInLesion, EvaluationConfig
from pipeline.detections import Detections
from pipeline.errors import DatasetError
from pipeline.evaluation import ScoredCase, evaluate, match_case
from pipeline.evaluation.confusion import NO_OBJECT, NOT_FOUND, confusion
from pipeline.evaluation.matching import match_overlaps
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

HALF_MICRON = Grid((1000, 1000), np.diag([0.0005, 0.0005, 1.0]))
BOX = EvaluationConfig(match=BoxOverlap(iou=0.5), bootstrap_rounds=100)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (CentreDistance(distance=12, unit="px"), True),
        (CentreDistance(distance=11.9, unit="px"), False),
        (CentreDistance(distance=6, unit="um"), True),
        (CentreDistance(distance=5.9, unit="um"), False),
        (CentreDistance(distance=0.006, unit="mm"), True),
        (CentreDistance(distance=0.0059), False),
    ],
)
def test_twelve_pixels_of_half_a_micron_are_six_microns(scan, rule, found):
    case = scan("a", [((50, 50),)], [((62, 50), 0.9)], grid=HALF_MICRON)
    assert match_case(case, rule).hit.tolist() == [found]


def test_distance_in_pixels_needs_no_physical_size_and_others_do(scan):
    case = scan("a", [(1,)], [(1, 0.9)])
    assert match_case(case, CentreDistance(distance=1, unit="px")).hit.tolist() == [True]
    for unit in ("um", "mm"):
        with pytest.raises(DatasetError, match=f"case a: a distance in {unit} needs an image with a physical size"):
            match_case(case, CentreDistance(distance=1, unit=unit))


def test_distance_in_pixels_is_refused_in_3d(scan):
    case = scan("a", [((5, 5, 5),)], [((5, 5, 5), 0.9)], grid=Grid((20, 20, 20), np.diag([1.0, 1.0, 3.0, 1.0])))
    with pytest.raises(DatasetError, match="case a: a distance in px needs a 2D image"):
        match_case(case, CentreDistance(distance=1, unit="px"))


def with_region(*detections: tuple[tuple[float, float], tuple[float, float], float]) -> ScoredCase:
    """A region of 100 x 40 px around (100, 100) to be ignored; detections: centre, size, score."""
    grid = Grid.of_pixels((300, 300))
    region = Boxes.around(np.array([[100.0, 100.0]]), np.array([100.0, 40.0]), grid)
    centres, sizes, scores = (np.array(part, dtype=float) for part in zip(*detections, strict=True))
    found = Detections("a", Boxes.around(centres, sizes, grid), scores, np.zeros(len(scores), dtype=int), ("x",))
    return ScoredCase("a", "p", Annotations(region, ("x",), np.array([True])), found)


def test_region_swallows_boxes_by_the_share_inside():
    """10 x 10 at its edge: half inside at (100, 120), .4 at (100, 121); one far larger than the region is false."""
    case = with_region(((100, 120), (10, 10), 0.9), ((100, 121), (10, 10), 0.8), ((100, 100), (300, 300), 0.7))
    matches = match_case(case, BoxOverlap(iou=0.5))
    assert matches.swallowed.tolist() == [True, False, False]
    assert match_case(case, BoxOverlap(iou=0.4)).swallowed.tolist() == [True, True, False]
    assert match_case(case, BoxOverlap(iou=0.04)).swallowed.tolist() == [True, True, True]


def test_region_swallows_centres_that_lie_in_it_and_points_have_no_region():
    case = with_region(((145, 115), (4, 4), 0.9), ((151, 100), (4, 4), 0.8))
    assert match_case(case, CentreDistance(distance=6)).swallowed.tolist() == [True, False]
    points = Annotations(case.annotations.boxes, ("x",), np.array([True]), from_points=True)
    case = ScoredCase("a", "p", points, case.detections)
    assert match_case(case, CentreDistance(distance=6)).swallowed.tolist() == [False, False]


def test_irrelevant_finding_of_luna16_swallows_within_its_radius():
    """The largest edge is 100 px: everything within 50 px, also outside of the box."""
    case = with_region(((100, 149), (4, 4), 0.9), ((100, 151), (4, 4), 0.8))
    assert match_case(case, CentreInLesion()).swallowed.tolist() == [True, False]


def test_classes_apart_find_objects_of_their_own_class_only(scan):
    case = scan("a", [(1, "tumour"), (2, "other")], [(1, 0.9, "other"), (1, 0.8, "tumour"), (2, 0.7, "tumour")])
    together = match_overlaps([case], (0.5,))[0.5][0]
    apart = match_overlaps([case], (0.5,), ("tumour", "other"))[0.5][0]
    assert together.found.tolist() == [0, -1, 1]
    assert apart.found.tolist() == [-1, 0, -1]


def test_unlabelled_object_swallows_any_class_apart_and_an_ignored_one_its_own(scan):
    case = scan(
        "a", [(1, "unlabelled"), (2, "tumour")], [(1, 0.9, "other"), (2, 0.8, "other"), (2, 0.7, "tumour")], ignore=[1]
    )
    apart = match_overlaps([case], (0.5,), ("tumour", "other"))[0.5][0]
    assert apart.swallowed.tolist() == [True, False, True]


def test_overlaps_at_once_are_those_one_by_one(random_field):
    cases = [random_field(f"{seed:02}", seed) for seed in range(12)]
    for iou, matches in match_overlaps(cases, (0.1, 0.3, 0.5)).items():
        for case, match in zip(cases, matches, strict=True):
            assert match.found.tolist() == match_case(case, BoxOverlap(iou=iou)).found.tolist()


def test_jaccard_index_by_hand(scan):
    """At .5: TP 2, FP 1, FN 1; a detection below the threshold is none."""
    case = scan("a", [(1,), (2,), (3,)], [(1, 0.9), (2, 0.8), (3, 0.4), (9, 0.7)])
    metrics = evaluate([case], BOX, ("tumour",), "v", 0.5).metrics
    assert metrics["jaccard_0_50"].value == 2 / 4


def test_map_is_the_mean_over_classes_and_ious(scan):
    """Tumour: found at every IoU, AP 1. Other: shifted by 2 of 10, IoU 80/120: found up to .65, 4 of 10 IoUs."""
    case = scan(
        "a", [((50, 50), "tumour"), ((200, 50), "other")], [((50, 50), 0.9, "tumour"), ((202, 50), 0.8, "other")]
    )
    metrics = evaluate([case], BOX, ("tumour", "other"), "v", 0.5).metrics
    assert metrics["map_iou_0_50_0_95"].value == pytest.approx((1 + 0.4) / 2)


def test_confusion_accounts_for_every_object_and_every_reported_detection(scan):
    objects = [(1, "tumour"), (2, "tumour"), (3, "tumour"), (4, "other"), (5, "unlabelled")]
    detections = [(1, 0.9, "tumour"), (2, 0.8, "other"), (3, 0.3, "tumour"), (5, 0.6, "other"), (9, 0.7, "tumour")]
    table = confusion(evaluate([scan("a", objects, detections)], BOX, ("tumour", "other"), "v", 0.5).objects, 0.5)
    assert table.index.tolist() == ["other", "tumour", "unlabelled", NO_OBJECT]
    assert table.columns.tolist() == ["other", "tumour", NOT_FOUND]
    assert table.to_numpy().tolist() == [[0, 0, 1], [1, 1, 1], [1, 0, 0], [0, 1, 0]]


def test_without_anything_the_confusion_is_empty(scan):
    table = confusion(evaluate([scan("a")], BOX, ("tumour",), "v", 0.5).objects, 0.5)
    assert table.to_numpy().tolist() == [[0]]


def test_hundred_empty_scans_change_only_what_is_per_scan(random_field, scan):
    """FP a scan, count error and the AUCs' negatives: nothing else."""
    cases = [random_field(f"{seed:02}", seed) for seed in range(12)]
    more = [*cases, *(scan(f"empty {index:03}", grid=cases[0].annotations.boxes.grid) for index in range(100))]
    before, after = (evaluate(some, BOX, ("tumour", "other"), "v", 0.5).metrics for some in (cases, more))
    per_scan = {"cpm", "sensitivity_at_0_25_fp", "sensitivity_at_1_fp", "count_error", "scan_auc", "patient_auc"}
    assert "ece" in before
    for name in set(before) - per_scan:
        assert after[name].value == pytest.approx(before[name].value, abs=1e-15), name
    assert after["count_error"].value == pytest.approx(before["count_error"].value * 12 / 112)
    assert after["cpm"].value >= before["cpm"].value


def test_order_of_cases_and_of_detections_and_objects_changes_nothing(random_field):
    rng = np.random.default_rng(0)
    cases = [random_field(f"{seed:02}", seed) for seed in range(12)]
    shuffled = [shuffled_case(cases[index], rng) for index in rng.permutation(12)]
    for assignment in ("greedy", "optimal"):
        config = EvaluationConfig(match=CentreDistance(distance=6, assignment=assignment), bootstrap_rounds=100)
        one, other = (evaluate(some, config, ("tumour", "other"), "v", 0.5) for some in (cases, shuffled))
        assert {name: str(value) for name, value in one.metrics.items()} == {
            name: str(value) for name, value in other.metrics.items()
        }
        assert one.test_set == other.test_set


def shuffled_case(case: ScoredCase, rng: np.random.Generator) -> ScoredCase:
    marks, found = case.annotations, case.detections
    p, q = rng.permutation(len(marks)), rng.permutation(len(found))
    labels = tuple(marks.labels[index] for index in p)
    return ScoredCase(
        case.case_id,
        case.patient_key,
        Annotations(marks.boxes[p], labels, marks.ignore[p]),
        Detections(case.case_id, found.boxes[q], found.scores[q], found.labels[q], found.classes),
    )
