import numpy as np

from pipeline.config.evaluation import CentreDistance
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.gallery import gallery
from pipeline.reporting.judging import judge
from pipeline.volumes import Annotations

GRID = Grid.of_pixels((100, 100))
RULE = CentreDistance(distance=4)


def case(name: str, annotated: dict[float, float], detected: dict[float, float], points: bool = False) -> ScoredCase:
    """Objects on the diagonal: annotated place → size, detected place → score."""

    def boxes(places, sizes):
        return Boxes.around(
            np.array([[p, p] for p in places], dtype=float).reshape(-1, 2),
            np.reshape(sizes, (-1, 1)) * np.ones(2),
            GRID,
        )

    annotations = Annotations.of(
        boxes(annotated, list(annotated.values())), ("cell",) * len(annotated), from_points=points
    )
    scores = np.array(list(detected.values()))
    found = Detections(
        name, boxes(detected, np.full(len(detected), 6.0)), scores, np.zeros(len(scores), dtype=int), ("cell",)
    )
    return ScoredCase(name, name, annotations, found)


def read(case_id: str) -> np.ndarray:
    return np.zeros((1, 100, 100), np.uint8)


def shown(cases, kind, **limits):
    return [(one.case_id, one.title) for one in gallery(cases, read, RULE, 0.5, **limits) if one.kind == kind]


def test_a_detection_below_the_threshold_leaves_its_object_missed():
    judged = judge(case("a", {10: 6, 50: 6}, {10: 0.9, 50: 0.3, 80: 0.7}), RULE, 0.5)
    assert judged.missed.tolist() == [False, True]
    assert judged.best_score.tolist() == [0.9, 0.3]
    assert judged.false.tolist() == [False, True]  # 0.9 hits, 0.7 is false, 0.3 is not reported


def test_larger_misses_come_first():
    cases = [case("a", {10: 4}, {}), case("b", {10: 12}, {}), case("c", {10: 8}, {})]
    assert shown(cases, "miss") == [
        ("b", "Missed cell, 12.0 px"),
        ("c", "Missed cell, 8.0 px"),
        ("a", "Missed cell, 4.0 px"),
    ]


def test_missed_points_come_by_lowest_score_and_state_no_size():
    cases = [case("a", {10: 12}, {10: 0.4}, points=True), case("b", {10: 12}, {10: 0.1}, points=True)]
    assert shown(cases, "miss") == [("b", "Missed cell"), ("a", "Missed cell")]


def test_confident_false_positives_come_first_and_one_a_case_first():
    cases = [case("a", {}, {10: 0.95, 30: 0.9, 50: 0.85}), case("b", {}, {10: 0.6})]
    assert shown(cases, "false_positive", false_positives=2) == [
        ("a", "False cell, score 0.95"),
        ("b", "False cell, score 0.60"),
    ]
    assert [name for name, _ in shown(cases, "false_positive", false_positives=3)] == ["a", "a", "b"]


def test_the_ring_lies_on_the_object_in_question():
    (picture, *_) = gallery([case("a", {10: 4, 50: 12}, {10: 0.9})], read, RULE, 0.5)
    focused = [one for one in picture.panels[0].outlines if one.focus]
    assert [(one.role, one.right - one.left) for one in focused] == [("annotation", 12.0)]


def test_an_ignored_annotation_before_the_missed_one_does_not_move_the_ring():
    one = case("a", {10: 6, 50: 12}, {})
    annotations = Annotations(one.annotations.boxes, one.annotations.labels, np.array([True, False]))
    (picture, *_) = gallery([ScoredCase("a", "a", annotations, one.detections)], read, RULE, 0.5)
    assert picture.title == "Missed cell, 12.0 px"
    assert [o.right - o.left for o in picture.panels[0].outlines if o.focus] == [12.0]


def test_images_are_read_for_shown_cases_only():
    asked = []

    def listening(case_id):
        asked.append(case_id)
        return read(case_id)

    cases = [case("a", {10: 12}, {}), case("b", {10: 6}, {}), case("c", {10: 4}, {})]
    gallery(cases, listening, RULE, 0.5, misses=1, false_positives=1)
    assert asked == ["a", "b"]  # the worst miss, and the median case


def test_no_cases_give_no_pictures():
    assert gallery([], read, RULE, 0.5) == ()
