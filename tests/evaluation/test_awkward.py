"""Test sets with hardly anything in them: evaluated, saved, loaded and compared like any other."""

import json
import math

import numpy as np
import pytest

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.errors import ModelError
from pipeline.evaluation import Evaluation, compare, evaluate

CLASSES = ("tumour", "other")
CONFIG = EvaluationConfig(match=CentreDistance(distance=6.0), bootstrap_rounds=100)


def sets(scan) -> dict[str, list]:
    both = [(1, "tumour"), (2, "other")]
    return {
        "no object": [scan("a", [], [(9, 0.9)]), scan("b")],
        "no detection": [scan("a", both), scan("b")],
        "nothing": [scan("a"), scan("b")],
        "one case": [scan("a", both, [(1, 0.9)])],
        "one patient": [scan("a", both, [(1, 0.9)], "p"), scan("b", [], [(9, 0.9)], "p")],
        "one score": [scan(name, both, [(1, 0.5), (2, 0.5), (9, 0.5)]) for name in "abc"],
        "only ignored": [scan("a", both, [(1, 0.9), (9, 0.3)], ignore=(0, 1)), scan("b")],
        "points": [scan("a", both, [(1, 0.9)], from_points=True), scan("b", [], [(9, 0.2)], from_points=True)],
        "some points": [scan("a", both, [(1, 0.9)], from_points=True), scan("b", [(1, "other")], [(1, 0.8, "other")])],
        "class never detected": [scan(name, both, [(1, 0.9, "tumour")]) for name in "abc"],
        "class of one patient": [scan("a", both, [(1, 0.9)]), *(scan(name, [(1,)], [(1, 0.7)]) for name in "bcd")],
        "only unlabelled": [scan("a", [(1, "unlabelled")], [(1, 0.9)]), scan("b")],
        "class unknown to the version": [scan("a", [(1, "third")], [(1, 0.9)]), scan("b")],
    }


@pytest.mark.parametrize("name", list(sets(lambda *_, **__: None)))
def test_is_evaluated_saved_loaded_and_differs_from_itself_by_nothing(scan, tmp_path, name):
    one = evaluate(sets(scan)[name], CONFIG, CLASSES, "v", 0.5)
    one.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert json.dumps(loaded.summary()) == json.dumps(one.summary())
    comparison = compare(loaded, one, rounds=100, seed=0)
    for metric, difference in comparison.differences.items():
        there = not math.isnan(one.metrics[metric].value)
        assert (difference.value == 0) == (comparison.p_values[metric] == 1) == there, metric


def test_class_that_is_never_detected_has_recall_zero_and_no_precision(scan):
    metrics = evaluate(sets(scan)["class never detected"], CONFIG, CLASSES, "v", 0.5).metrics
    assert (metrics["class_recall_other"].value, metrics["class_f1_other"].value) == (0, 0)
    assert math.isnan(metrics["class_precision_other"].value)
    assert metrics["class_f1_weighted"].value == pytest.approx((1 + 0) / 2)


def test_rounds_that_draw_no_object_of_a_class_are_left_out_of_its_interval(scan):
    """One of eight patients has the class, and his object is found: every round that draws him says 1."""
    cases = [scan("a", [(1, "other")], [(1, 0.9, "other")])]
    cases += [scan(name, [(1,)], [(1, 0.7)] if name < "f" else []) for name in "bcdefgh"]
    metrics = evaluate(cases, CONFIG, CLASSES, "v", 0.5).metrics
    assert metrics["class_recall_other"].value == 1
    assert not metrics["class_recall_other"].lower < 1
    assert metrics["class_recall_tumour"].lower < 4 / 7 < metrics["class_recall_tumour"].upper


def test_all_of_one_score_are_one_step_whatever_finds(scan):
    """3 scans, 2 of 3 detections right in each: precision 2/3 at recall 1, and 3 false within 1 a scan."""
    metrics = evaluate(sets(scan)["one score"], CONFIG, CLASSES, "v", 0.5).metrics
    assert metrics["average_precision"].value == pytest.approx(2 / 3)
    assert metrics["sensitivity_at_1_fp"].value == 1
    assert metrics["cpm"].value == pytest.approx(4 / 7)


def test_score_that_is_no_number_is_refused_where_detections_are_made(scan):
    with pytest.raises(ModelError, match="not a number"):
        scan("a", [], [(1, np.nan)])


def test_confusion_is_saved_and_loaded(scan, tmp_path):
    objects = [(1, "tumour"), (2, "tumour"), (3, "other")]
    detections = [(1, 0.9, "tumour"), (2, 0.8, "other"), (3, 0.3, "other"), (9, 0.7, "other")]
    one = evaluate([scan("a", objects, detections)], CONFIG, CLASSES, "v", 0.5)
    one.save(tmp_path)
    table = Evaluation.load(tmp_path).confusion
    assert table.index.tolist() == ["other", "tumour", "no object"]
    assert table.columns.tolist() == ["other", "tumour", "not found"]
    assert table.to_numpy().tolist() == one.confusion.to_numpy().tolist() == [[0, 0, 1], [1, 1, 0], [1, 0, 0]]


def test_one_class_has_no_confusion(scan):
    assert evaluate([scan("a", [(1,)])], CONFIG, ("tumour",), "v", 0.5).confusion is None


def test_folder_of_an_evaluation_without_confusion_loads(scan, tmp_path):
    evaluate([scan("a", [(1,)])], CONFIG, CLASSES, "v", 0.5).save(tmp_path)
    file = tmp_path / "evaluation.json"
    summary = json.loads(file.read_text())
    del summary["confusion"]
    file.write_text(json.dumps(summary))
    assert Evaluation.load(tmp_path).confusion is None
