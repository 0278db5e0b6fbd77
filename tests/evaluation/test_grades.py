"""ROC AUC of the objects' grade, by hand."""

import dataclasses
import math

import numpy as np
import pytest

from pipeline.config.evaluation import CentreInLesion
from pipeline.detections import Detections
from pipeline.evaluation import Evaluation, ScoredCase, compare, evaluate
from pipeline.evaluation.bearing import patients_bearing
from pipeline.evaluation.pooled import Child, pool
from pipeline.evaluation.uncertainty import patients_of
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

GRID = Grid.of_pixels((100, 100))
NAMES = ("grade_auc", "grade_auc_found", "grade_auc_by_size", "grade_auc_gain")
NAN = float("nan")


def case(name: str, true: float, given: float | None, size: float, score=0.9, patient=None, graded=True) -> ScoredCase:
    """One object of ``size`` px; ``given`` by the detection on it, `None` where nothing found it."""
    box = Boxes.around(np.array([[50.0, 50.0]]), np.array([[size, size / 2]]), GRID)
    there = Annotations(box, ("nodule",), np.zeros(1, bool), grades=np.array([true]))
    found = box if given is not None else Boxes.empty(GRID)
    grades = np.array([] if given is None else [given]) if graded else None
    count = len(found)
    detections = Detections(
        name, found, np.full(count, score), np.zeros(count, int), ("nodule",), None, grades, "malignancy" * graded
    )
    return ScoredCase(name, patient or f"patient of {name}", there, detections)


def judged(cases, config, version="v", threshold=0.5) -> Evaluation:
    return evaluate(cases, config.model_copy(update={"match": CentreInLesion()}), ("nodule",), version, threshold)


def figures(cases, config) -> dict[str, float]:
    return {name: one.value for name, one in judged(cases, config).metrics.items() if name in NAMES}


@pytest.fixture
def five() -> list[ScoredCase]:
    """Positive: a .8 (size 20), b .4 (10), c not found (30). Negative: d .6 (12), e .1 (10).

    Of the six pairs: a is above d and e, b above e; c is below both: 3 / 6. Found: 3 of 4. Size: a and c are above d
    and e, b below d and level with e: 4.5 / 6.
    """
    return [
        case("a", 1.0, 0.8, 20),
        case("b", 1.0, 0.4, 10),
        case("c", 1.0, None, 30),
        case("d", 0.0, 0.6, 12),
        case("e", 0.0, 0.1, 10),
    ]


def test_five_objects_by_hand(five, config):
    assert figures(five, config) == pytest.approx(
        {"grade_auc": 3 / 6, "grade_auc_found": 3 / 4, "grade_auc_by_size": 4.5 / 6, "grade_auc_gain": -1.5 / 6}
    )


def test_a_missed_negative_costs_nothing(five, config):
    five[2], five[3] = case("c", 1.0, 0.5, 30), case("d", 0.0, None, 12)
    assert figures(five, config)["grade_auc"] == 1


def test_objects_of_unknown_grade_and_false_detections_do_not_count(five, config):
    stray = case("f", NAN, 0.99, 90)
    moved = Boxes(five[4].detections.boxes.lower - 30, five[4].detections.boxes.upper - 30, GRID)
    off = dataclasses.replace(five[4].detections, boxes=moved, grades=np.array([0.95]))
    more = [*five, stray, dataclasses.replace(five[4], case_id="g", annotations=Annotations.none(GRID), detections=off)]
    assert figures(more, config) == figures(five, config)


def test_a_grade_counts_whatever_the_detections_score(five, config):
    faint = [dataclasses.replace(one, detections=dataclasses.replace(one.detections, scores=one.detections.scores / 9))
             for one in five]  # fmt: skip
    assert figures(faint, config) == figures(five, config)


def test_a_grade_of_a_half_and_more_is_positive(five, config):
    soft = [
        dataclasses.replace(one, annotations=dataclasses.replace(one.annotations, grades=np.array([grade])))
        for one, grade in zip(five, (0.5, 0.75, 1.0, 0.25, 0.49), strict=True)
    ]
    assert figures(soft, config) == figures(five, config)


def test_objects_all_on_one_side_have_no_figure(five, config):
    evaluation = judged(five[:3], config)
    assert not set(NAMES) & set(evaluation.metrics)
    assert "roc_grade" not in evaluation.curves
    assert evaluation.objects["grade_true"].tolist() == [1.0] * 3


def test_a_version_that_does_not_grade_has_the_reference_alone(five, config):
    plain = [
        dataclasses.replace(one, detections=dataclasses.replace(one.detections, grades=None, grade_name=""))
        for one in five
    ]
    assert figures(plain, config) == {"grade_auc_by_size": 4.5 / 6}


def test_nothing_found_is_chance_for_all_and_no_figure_for_the_found(config):
    cases = [case(name, grade, None, 10) for name, grade in (("a", 1.0), ("b", 0.0))]
    off = cases[0].annotations.boxes
    moved = Boxes(off.lower - 30, off.upper - 30, GRID)
    stray = Detections("a", moved, np.ones(1), np.zeros(1, int), ("nodule",), None, np.array([0.7]), "malignancy")
    got = figures([dataclasses.replace(cases[0], detections=stray), cases[1]], config)
    assert got["grade_auc"] == 0.5
    assert math.isnan(got["grade_auc_found"])


def test_points_have_no_size_to_compare_with(five, config):
    points = [
        dataclasses.replace(one, annotations=dataclasses.replace(one.annotations, from_points=True)) for one in five
    ]
    names = evaluate(points, config, ("nodule",), "v", 0.5).metrics
    assert [name for name in names if name in NAMES] == ["grade_auc", "grade_auc_found"]


def test_without_grades_tables_and_figures_are_as_before(five_scans, config):
    evaluation = evaluate(five_scans, config, ("tumour",), "v", 0.5)
    assert not {"grade", "grade_true"} & set(evaluation.objects.columns)
    assert not set(NAMES) & set(evaluation.metrics)
    assert "roc_grade" not in evaluation.curves


def test_tables_hold_what_was_given_and_what_is_true_and_come_back(five, config, tmp_path):
    evaluation = judged(five, config)
    table = evaluation.objects.set_index("case_id")[["grade", "grade_true"]]
    assert table.loc["b"].tolist() == [0.4, 1.0]
    assert table.loc["c"].tolist() == pytest.approx([NAN, 1.0], nan_ok=True)
    evaluation.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert loaded.metrics["grade_auc"].value == evaluation.metrics["grade_auc"].value
    assert loaded.curves["roc_grade"] == evaluation.curves["roc_grade"]


def test_curve_by_hand(five, config):
    """From the highest grade: a, d (false), b, e (false), and last c, which nothing found."""
    curve = judged(five, config).curves["roc_grade"]
    assert curve.x == pytest.approx((0, 0, 1 / 2, 1 / 2, 1, 1))
    assert curve.y == pytest.approx((0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1))


def many(seed: int, skill: float) -> list[ScoredCase]:
    """Forty patients with two objects each; size says a little, the grade what ``skill`` says."""
    world, detector = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    cases = []
    for number in range(80):
        true = float(world.random() < 0.4)
        given = float(np.clip(0.5 + skill * (true - 0.5) + 0.3 * detector.normal(), 0.01, 0.99))
        cases.append(case(f"{number:02}", true, given, 10 + 5 * true + world.exponential(8), patient=f"p{number // 2}"))
    return cases


def test_the_gain_is_paired_so_its_interval_is_narrower_than_the_sum_of_both(config):
    metrics = judged(many(0, 1.0), config).metrics
    gain, width = metrics["grade_auc_gain"], {name: metrics[name].upper - metrics[name].lower for name in NAMES}
    assert gain.value == pytest.approx(metrics["grade_auc"].value - metrics["grade_auc_by_size"].value)
    assert gain.lower <= gain.value <= gain.upper
    assert 0 < width["grade_auc_gain"] < width["grade_auc"] + width["grade_auc_by_size"]


def test_an_interval_rests_on_the_patients_of_the_smaller_side(five, config):
    five[1] = dataclasses.replace(five[1], patient_key=five[0].patient_key)
    evaluation = judged(five, config)
    bearing = patients_bearing(NAMES, evaluation.cases, evaluation.objects, patients_of(evaluation.cases))
    assert set(bearing.values()) == {2}


def test_versions_compare_by_their_grades_and_not_by_the_reference(config):
    good, bad = (judged(many(0, skill), config, name) for name, skill in (("good", 1.5), ("bad", 0.1)))
    comparison = compare(bad, good, 200, 0)
    assert set(comparison.differences) & set(NAMES) == {"grade_auc", "grade_auc_found"}
    difference = comparison.differences["grade_auc"]
    assert difference.value == pytest.approx(good.metrics["grade_auc"].value - bad.metrics["grade_auc"].value)
    assert difference.lower > 0
    assert comparison.p_values["grade_auc"] < 0.02
    same = compare(good, good, 200, 0)
    assert same.differences["grade_auc"].value == 0
    assert same.p_values["grade_auc"] == 1


def test_versions_that_were_told_other_grades_are_not_compared_by_them(five, config):
    other = [
        dataclasses.replace(one, annotations=dataclasses.replace(one.annotations, grades=np.array([grade])))
        for one, grade in zip(five, (0.0, 1.0, 1.0, 0.0, 0.0), strict=True)
    ]
    comparison = compare(judged(five, config), judged(other, config, "w"), 100, 0)
    assert "f1" in comparison.differences
    assert not set(NAMES) & set(comparison.differences)


def test_folds_are_pooled_with_their_grades(config):
    folds = [many(0, 1.0)[:40], many(0, 1.0)[40:]]
    children = [Child(n, 0, judged(cases, config, f"v{n}")) for n, cases in enumerate(folds)]
    pooled = pool(children, config, ("nodule",))
    whole = judged(many(0, 1.0), config).metrics
    assert pooled.metrics["grade_auc"].value == pytest.approx(whole["grade_auc"].value)
    assert pooled.curves["roc_grade"].x[-1] == 1
