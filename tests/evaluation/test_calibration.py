"""Calibration of scores, by hand."""

import numpy as np
import pytest

from pipeline.evaluation import evaluate
from pipeline.evaluation.calibration import Calibration


def result(cases, config):
    return evaluate(cases, config, ("tumour",), "v", 0.5)


def test_five_scans_by_hand(five_scans, config):
    """Bins: .9 up {.95 hit, .90 false}, .8 up {.85 hit, .80 hit}, and one each of .70 false, .60 hit, .50 false, .40
    false. ECE = (|1.85 - 1| + |1.65 - 2| + .7 + .4 + .5 + .4) / 8."""
    evaluation = result(five_scans, config)
    assert evaluation.metrics["ece"].value == pytest.approx((0.85 + 0.35 + 0.7 + 0.4 + 0.5 + 0.4) / 8)
    assert evaluation.curves["calibration"].x == pytest.approx((0.4, 0.5, 0.6, 0.7, 0.825, 0.925))
    assert evaluation.curves["calibration"].y == (0, 0, 1, 0, 1, 0.5)


def test_edges_of_bins_belong_to_the_upper_one_and_the_ends_are_in():
    scores = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.0999, 1.0])
    held = Calibration.of(1, np.zeros(8, dtype=int), scores, np.zeros(8, dtype=bool)).detections[0]
    assert held.tolist() == [0, 1, 1, 1, 0, 0, 1, 1, 0, 1]  # the lowest bin is left out


def test_what_a_lower_floor_lets_through_changes_nothing(scan, config):
    detections = [(1, 0.8), (9, 0.3)]
    one = result([scan("a", [(1,)], detections)], config)
    other = result([scan("a", [(1,)], [*detections, *[(20, 0.02 + 0.001 * n) for n in range(50)]])], config)
    assert one.metrics["ece"] == other.metrics["ece"]


def test_well_calibrated_scores_have_no_error(scan, config):
    """Four detections at .75, three of them right."""
    assert result([scan("a", [(1,), (2,), (3,)], [(spot, 0.75) for spot in (1, 2, 3, 9)])], config).metrics[
        "ece"
    ].value == pytest.approx(0)


def test_swallowed_detections_are_left_out(scan, config):
    case = scan("a", [(1,), (2,)], [(1, 0.8), (2, 0.3)], ignore=[1])
    assert result([case], config).metrics["ece"].value == pytest.approx(0.2)


def test_without_a_detection_it_does_not_exist(scan, config):
    evaluation = result([scan("a", [(1,)])], config)
    assert np.isnan(evaluation.metrics["ece"].value)
    assert evaluation.curves["calibration"].x == ()
