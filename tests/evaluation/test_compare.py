"""Two versions on the same scans."""

import dataclasses
import json
import math

import pytest

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.detections import Detections
from pipeline.errors import DatasetError
from pipeline.evaluation import Evaluation, ScoredCase, compare, evaluate

CLASSES = ("tumour", "other")


@pytest.fixture(scope="module")
def version(random_field, config):
    """A version of some skill on 30 scans of 15 patients."""

    def make(name: str, skill: float) -> Evaluation:
        cases = [random_field(f"{seed:02}", seed, f"p{seed // 2}", skill=skill) for seed in range(30)]
        return evaluate(cases, config, CLASSES, name, 0.4)

    return make


def test_version_with_itself_differs_by_exactly_nothing(version):
    one = version("one", 0.7)
    comparison = compare(one, one, rounds=200, seed=0)
    assert set(comparison.differences) == set(one.metrics)
    for name, difference in comparison.differences.items():
        assert (difference.value, difference.lower, difference.upper) == (0, 0, 0)
        assert comparison.p_values[name] == 1


def test_better_version_is_seen(version):
    comparison = compare(version("weak", 0.4), version("good", 0.8), rounds=400, seed=0)
    for name in ("f1", "recall", "average_precision", "cpm", "ap_iou_0_25"):
        assert comparison.differences[name].lower > 0, name
        assert comparison.p_values[name] < 0.01, name


def test_difference_is_b_minus_a_and_turns_with_them(version):
    a, b = version("a", 0.5), version("b", 0.75)
    forth, back = compare(a, b, rounds=200, seed=0), compare(b, a, rounds=200, seed=0)
    assert forth.patients == 15
    for name, difference in forth.differences.items():
        assert difference.value == pytest.approx(b.metrics[name].value - a.metrics[name].value)
        assert forth.values_a[name] == back.values_b[name] == a.metrics[name].value
        turned = back.differences[name]
        assert (difference.lower, difference.upper) == pytest.approx((-turned.upper, -turned.lower), nan_ok=True)
        assert forth.p_values[name] == pytest.approx(back.p_values[name])


def test_pairing_makes_the_interval_narrower(random_field, config):
    """B is A with the detections of one in ten scans lost: their own intervals overlap, the paired one excludes 0."""
    cases = [random_field(f"{seed:02}", seed, skill=0.2 + 0.6 * (seed % 2)) for seed in range(60)]
    fewer = [case if index % 10 else without_detections(case) for index, case in enumerate(cases)]
    a, b = evaluate(cases, config, CLASSES, "a", 0.4), evaluate(fewer, config, CLASSES, "b", 0.4)
    paired = compare(a, b, rounds=500, seed=0).differences["recall"]
    alone = a.metrics["recall"]
    assert b.metrics["recall"].upper > alone.lower
    assert paired.upper < 0
    assert paired.upper - paired.lower < alone.upper - alone.lower


def test_cases_are_paired_by_id_whatever_the_order_of_rows(version):
    a, b = version("a", 0.5), version("b", 0.75)
    expected = json.dumps(compare(a, b, rounds=100, seed=0).to_json())
    assert json.dumps(compare(shuffled(a), b, rounds=100, seed=0).to_json()) == expected
    assert json.dumps(compare(a, shuffled(b), rounds=100, seed=0).to_json()) == expected


def test_saved_versions_compare_as_fresh_ones(version, tmp_path):
    a, b = version("a", 0.5), version("b", 0.75)
    a.save(tmp_path / "a")
    b.save(tmp_path / "b")
    loaded = compare(Evaluation.load(tmp_path / "a"), Evaluation.load(tmp_path / "b"), rounds=100, seed=0)
    assert json.dumps(loaded.to_json()) == json.dumps(compare(a, b, rounds=100, seed=0).to_json())


def test_scores_on_another_scale_are_no_difference(random_field, config):
    """B's scores are the squares of A's, and its threshold too: the same detector with another calibration."""
    cases = [random_field(f"{seed:02}", seed) for seed in range(20)]
    a, b = evaluate(cases, config, CLASSES, "a", 0.4), evaluate(list(map(squared, cases)), config, CLASSES, "b", 0.16)
    comparison = compare(a, b, rounds=200, seed=0)
    same = set(comparison.differences) - {"ece"}  # the only figure that asks what a score means
    assert {comparison.differences[name].value for name in same} == {0.0}
    assert {comparison.p_values[name] for name in same} == {1.0}
    assert comparison.differences["ece"].value != 0


def test_p_value_of_three_patients_by_hand(scan, config):
    """B finds all three, A none. Of 8 ways to swap, 2 (none, all) differ as much: p is near 1/4, not small."""
    a = evaluate([scan(name, [(1,)]) for name in "xyz"], config, CLASSES, "a", 0.5)
    b = evaluate([scan(name, [(1,)], [(1, 0.9)]) for name in "xyz"], config, CLASSES, "b", 0.5)
    comparison = compare(a, b, rounds=2000, seed=0)
    assert comparison.differences["recall"].value == 1
    assert comparison.p_values["recall"] == pytest.approx(1 / 4, abs=0.03)


def test_figure_that_neither_has_has_no_difference(scan, config):
    a = evaluate([scan("x", [], [(9, 0.9)]), scan("y")], config, CLASSES, "a", 0.5)
    comparison = compare(a, a, rounds=100, seed=0)
    assert math.isnan(comparison.differences["recall"].value)
    assert math.isnan(comparison.p_values["recall"])


def test_other_test_set_is_refused(scan, config):
    a = evaluate([scan("x", [(1,)])], config, CLASSES, "one", 0.5)
    b = evaluate([scan("x", [(2,)])], config, CLASSES, "two", 0.5)
    with pytest.raises(DatasetError, match="versions one and two cannot be compared: their test sets differ"):
        compare(a, b, rounds=100, seed=0)


def test_other_match_rule_is_refused(scan, config):
    wider = EvaluationConfig(match=CentreDistance(distance=9.0))
    a = evaluate([scan("x", [(1,)])], config, CLASSES, "one", 0.5)
    b = evaluate([scan("x", [(1,)])], wider, CLASSES, "two", 0.5)
    with pytest.raises(DatasetError, match=r"match rules differ, .*6\.0.* and .*9\.0"):
        compare(a, b, rounds=100, seed=0)


def test_other_patients_are_refused(scan, config):
    a = evaluate([scan("x", [(1,)], patient="p")], config, CLASSES, "one", 0.5)
    b = evaluate([scan("x", [(1,)], patient="q")], config, CLASSES, "two", 0.5)
    with pytest.raises(DatasetError, match="pair cases with other patients"):
        compare(a, b, rounds=100, seed=0)


def test_figures_that_only_one_has_are_left_out(scan, config):
    one = EvaluationConfig(match=config.match, overlap_ious=(0.5,), bootstrap_rounds=100)
    a = evaluate([scan("x", [(1,)]), scan("y")], one, CLASSES, "a", 0.5)
    b = evaluate([scan("x", [(1,)]), scan("y")], config, ("tumour",), "b", 0.5)
    names = set(compare(a, b, rounds=100, seed=0).differences)
    assert "ap_iou_0_50" in names
    assert not names & {"ap_iou_0_25", "class_f1_tumour", "class_f1_weighted"}


def shuffled(evaluation: Evaluation) -> Evaluation:
    cases, objects = evaluation.cases.sample(frac=1, random_state=0), evaluation.objects.sample(frac=1, random_state=1)
    return dataclasses.replace(evaluation, cases=cases, objects=objects)


def without_detections(case: ScoredCase) -> ScoredCase:
    return dataclasses.replace(case, detections=case.detections.above(2.0))


def squared(case: ScoredCase) -> ScoredCase:
    d = case.detections
    return dataclasses.replace(case, detections=Detections(d.volume_id, d.boxes, d.scores**2, d.labels, d.classes))
