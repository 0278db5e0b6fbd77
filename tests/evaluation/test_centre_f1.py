"""Figures at one threshold, by hand."""

import math

import pytest

from pipeline.evaluation import evaluate


def figures(cases, config, threshold=0.5, classes=("tumour", "other")) -> dict[str, float]:
    return {name: figure.value for name, figure in evaluate(cases, config, classes, "v", threshold).metrics.items()}


def test_five_scans_at_their_best_threshold(five_scans, config):
    """At .6: TP 4, FP 2, FN 1. Detected against there: A 2/2, B 2/1, C 1/0, D 1/2, E 0/0."""
    got = figures(five_scans, config, 0.6)
    assert got["f1"] == pytest.approx(8 / 11)
    assert got["precision"] == pytest.approx(4 / 6)
    assert got["recall"] == pytest.approx(4 / 5)
    assert got["count_error"] == pytest.approx(3 / 5)


def test_score_of_exactly_the_threshold_counts(five_scans, config):
    assert figures(five_scans, config, 0.85)["recall"] == pytest.approx(2 / 5)
    assert figures(five_scans, config, 0.8500001)["recall"] == pytest.approx(1 / 5)


def test_class_f1_asks_for_place_and_class(scan, config):
    """Five objects: 3 tumour, 2 other.

    1 tumour → tumour; 2 tumour → other; 3 tumour missed; 4 other → other; 5 other found below the threshold;
    9 nothing there → tumour. Tumour: TP 1, FP 1, FN 2: 2/5. Other: TP 1, FP 1, FN 1: 2/4.
    """
    objects = [(1, "tumour"), (2, "tumour"), (3, "tumour"), (4, "other"), (5, "other")]
    detections = [(1, 0.9, "tumour"), (2, 0.8, "other"), (4, 0.7, "other"), (5, 0.4, "other"), (9, 0.6, "tumour")]
    got = figures([scan("a", objects, detections)], config)
    assert got["class_f1_tumour"] == pytest.approx(2 / 5)
    assert got["class_f1_other"] == pytest.approx(2 / 4)
    assert got["class_f1_weighted"] == pytest.approx((3 * 2 / 5 + 2 * 2 / 4) / 5)
    assert got["f1"] == pytest.approx(2 * 3 / (4 + 5))


def test_unlabelled_object_counts_for_detection_only(scan, config):
    objects = [(1, "tumour"), (2, "unlabelled"), (3, "unlabelled")]
    got = figures([scan("a", objects, [(1, 0.9, "tumour"), (2, 0.8, "tumour")])], config)
    assert got["class_f1_tumour"] == 1
    assert got["class_f1_weighted"] == 1
    assert got["recall"] == pytest.approx(2 / 3)


def test_ignored_object_counts_nowhere(scan, config):
    objects = [(1, "tumour"), (2, "tumour"), (3, "other")]
    got = figures([scan("a", objects, [(1, 0.9, "tumour"), (2, 0.8, "tumour")], ignore=[1, 2])], config)
    assert (got["f1"], got["class_f1_tumour"], got["count_error"]) == (1, 1, 0)
    assert math.isnan(got["class_f1_other"])


def test_object_of_an_unknown_class_makes_the_class_given_to_it_false(scan, config):
    """The stroma cell is found (F1 1), and calling it tumour is wrong: tumour TP 1, FP 1, FN 0."""
    got = figures([scan("a", [(1, "tumour"), (2, "stroma")], [(1, 0.9), (2, 0.8)])], config)
    assert got["f1"] == 1
    assert got["class_f1_tumour"] == pytest.approx(2 / 3)
    assert got["class_f1_weighted"] == pytest.approx(2 / 3)


def test_detection_of_a_class_that_is_not_evaluated_leaves_its_object_unfound_for_its_class(scan, config):
    """The third class of the detector is not evaluated: located, so F1 1; tumour TP 0, FP 0, FN 1."""
    case = scan("a", [(1, "tumour")], [(1, 0.9, "debris")], classes=("tumour", "other", "debris"))
    got = figures([case], config)
    assert (got["f1"], got["class_f1_tumour"]) == (1, 0)


def test_class_figures_exist_with_several_classes_only(scan, config):
    got = figures([scan("a", [(1, "tumour")], [(1, 0.9)])], config, classes=("tumour",))
    assert not [name for name in got if name.startswith("class_f1")]


def test_without_an_object_recall_does_not_exist_and_f1_is_zero(scan, config):
    got = figures([scan("a", [], [(9, 0.9)])], config)
    assert math.isnan(got["recall"])
    assert (got["precision"], got["f1"], got["count_error"]) == (0, 0, 1)


def test_without_a_detection_precision_does_not_exist_and_f1_is_zero(scan, config):
    got = figures([scan("a", [(1,)])], config)
    assert math.isnan(got["precision"])
    assert (got["recall"], got["f1"], got["count_error"]) == (0, 0, 1)


def test_with_neither_only_the_count_is_a_figure(scan, config):
    got = figures([scan("a"), scan("b")], config)
    assert got.pop("count_error") == 0
    assert all(math.isnan(value) for value in got.values())
