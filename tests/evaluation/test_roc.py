"""ROC AUC of scans and patients, by hand."""

import numpy as np
import pytest

from pipeline.evaluation import evaluate
from pipeline.evaluation.roc import auc


def figures(cases, config) -> dict[str, float]:
    return {name: figure.value for name, figure in evaluate(cases, config, ("tumour",), "v", 0.5).metrics.items()}


def test_five_scans_by_hand(five_scans, config):
    """Highest scores: A .95, B .90, D .85 with objects, C .70 and E nothing without: every pair is right."""
    assert figures(five_scans, config)["scan_auc"] == 1


def test_score_of_a_scan_is_its_highest_right_or_wrong(scan, config):
    """With: .6 and (by its false detection) .9. Without: .8. One pair of two is right."""
    cases = [scan("a", [(1,)], [(1, 0.6)]), scan("b", [(1,)], [(1, 0.1), (9, 0.9)]), scan("c", [], [(9, 0.8)])]
    assert figures(cases, config)["scan_auc"] == 0.5


def test_tie_counts_half_and_scans_without_a_detection_tie(scan, config):
    """With: .5 and nothing. Without: .5 and nothing. Pairs: 1/2, 1, 0, 1/2."""
    cases = [scan("a", [(1,)], [(1, 0.5)]), scan("b", [(1,)]), scan("c", [], [(9, 0.5)]), scan("d")]
    assert figures(cases, config)["scan_auc"] == 0.5
    cases[2] = scan("c", [], [(9, 0.4)])
    assert figures(cases, config)["scan_auc"] == 2.5 / 4


def test_swallowed_detection_is_no_score_and_ignored_object_no_finding(scan, config):
    cases = [scan("a", [(1,)], [(1, 0.5)]), scan("b", [(1,)], [(1, 0.9)], ignore=[0])]
    assert figures(cases, config)["scan_auc"] == 1


def test_patient_is_positive_by_one_scan_and_has_the_highest_score(scan, config):
    """Patient p: scans .2 (with an object) and .9 (without). Patient q: .5, without. Of scans .2 loses to .9 and .5."""
    cases = [
        scan("a", [(1,)], [(1, 0.2)], patient="p"),
        scan("b", [], [(9, 0.9)], patient="p"),
        scan("c", [], [(9, 0.5)], patient="q"),
    ]
    got = figures(cases, config)
    assert (got["scan_auc"], got["patient_auc"]) == (0, 1)


def test_test_set_of_one_kind_has_no_auc_and_no_curve(scan, config):
    for cases in ([scan("a", [(1,)], [(1, 0.5)])], [scan("a", [], [(1, 0.5)])]):
        evaluation = evaluate(cases, config, ("tumour",), "v", 0.5)
        assert not {"scan_auc", "patient_auc"} & set(evaluation.metrics)
        assert evaluation.curves["roc_scan"].x == ()


def test_weight_repeats_an_entry():
    score, positive = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    weights = np.array([[1, 1, 1, 1], [2, 1, 0, 3], [0, 0, 1, 1], [1, 3, 2, 1]])
    literal = [
        auc(np.ones((1, row.sum()), dtype=int), np.repeat(score, row), np.repeat(positive, row))[0] for row in weights
    ]
    assert auc(weights, score, positive).tolist() == pytest.approx(literal, nan_ok=True)
    assert literal[0] == 3 / 4
    assert np.isnan(literal[2])


def test_hundred_scans_without_anything_add_negatives_that_score_lowest(five_scans, scan, config):
    """A, B, D beat them all; a new scan without a detection but with an object ties with them and with E."""
    more = [*five_scans, scan("F", [(1,)]), *(scan(f"empty {index:03}") for index in range(100))]
    assert figures(more, config)["scan_auc"] == pytest.approx((3 * 102 + 101 / 2) / (4 * 102))
