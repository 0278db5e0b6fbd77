"""Permutation p values and their correction, and the smallest difference that is shown."""

import math

import numpy as np
import pytest

from pipeline.evaluation.power import detectable
from pipeline.evaluation.significance import holm, p_value, smallest_p, swaps


def test_all_cases_of_a_patient_are_swapped_together_whatever_their_order():
    patients = np.array(["p1", "p2", "p2", "p3"])
    swapped = swaps(patients, rounds=400, seed=0)
    assert (swapped[:, 1] == swapped[:, 2]).all()
    assert swapped.mean() == pytest.approx(0.5, abs=0.05)
    order = [3, 0, 2, 1]
    assert (swaps(patients[order], rounds=400, seed=0) == swapped[:, order]).all()


def test_p_counts_the_real_difference_and_leaves_out_what_does_not_exist():
    assert p_value(0.5, np.array([0.5, -0.6, 0.1, math.nan])) == 3 / 4
    assert p_value(0.0, np.array([0.5, 0.0])) == 1
    assert math.isnan(p_value(math.nan, np.array([0.1])))


def test_holm_by_hand():
    """Of three: .01 by 3, .03 by 2, and .04 is not below .06."""
    assert holm(np.array([0.01, 0.04, math.nan, 0.03])) == pytest.approx([0.03, 0.06, math.nan, 0.06], nan_ok=True)
    assert holm(np.array([0.6, 0.5])).tolist() == [1, 1]
    assert holm(np.array([0.2])).tolist() == [0.2]
    assert holm(np.array([])).tolist() == []


def test_smallest_p_is_bound_by_patients_and_by_rounds():
    assert smallest_p(patients=3, rounds=999) == 1 / 4
    assert smallest_p(patients=30, rounds=999) == 1 / 1000


def test_detectable_by_hand():
    """Ten patients: t(9) is 2.262157 at .975 and 0.883404 at .8; rounds of deviation 1 (ddof 1), times √(10/9)."""
    rounds = np.tile([-1.0, 1.0], 50) * np.sqrt(99 / 100)
    assert detectable(rounds, patients=10) == pytest.approx((2.262157 + 0.883404) * np.sqrt(10 / 9), abs=1e-5)


def test_detectable_of_many_patients_is_two_point_eight_standard_errors():
    rounds = np.random.default_rng(0).normal(0.3, 0.01, 2000)
    assert detectable(rounds, patients=100_000) == pytest.approx(2.8016 * rounds.std(ddof=1), rel=1e-3)


def test_nothing_is_detectable_where_p_cannot_be_small_enough():
    """Five patients can be swapped in 32 ways, so p is 1/16 at best; six reach 1/32."""
    rounds = np.random.default_rng(0).normal(0, 1, 100)
    assert math.isnan(detectable(rounds, patients=5))
    assert detectable(rounds, patients=6) > 0
    assert math.isnan(detectable(rounds, patients=50, alpha=0.05 / 20))


def test_detectable_is_unknown_where_the_versions_never_differ():
    assert math.isnan(detectable(np.zeros(100), patients=50))
    assert math.isnan(detectable(np.full(100, math.nan), patients=50))
