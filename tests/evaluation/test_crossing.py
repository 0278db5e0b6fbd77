"""Where a curve reaches a quality, in numbers that are worked by hand."""

import math

import numpy as np
import pytest

from pipeline.evaluation.crossing import Crossing, share_reached, steps_reached

SHARES = (0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("curve", "target", "share"),
    [
        ([0.2, 0.4, 0.8], 0.6, 10**-0.5),  # half-way between 0.1 and 1 over the logarithm
        ([0.2, 0.4, 0.8], 0.25, 10**-1.75),  # a quarter of the way from 0.01 to 0.1
        ([0.2, 0.4, 0.8], 0.4, 0.1),
        ([0.2, 0.4, 0.8], 0.8, 1.0),
        ([0.2, 0.4, 0.8], 0.1, 0.01),
        ([0.2, 0.4, 0.8], 0.81, math.inf),
        ([0.2, 0.7, 0.5], 0.6, 0.01 * 10**0.8),  # the first time counts, whatever comes after
        ([0.7, 0.2, 0.8], 0.6, 0.01),
        ([0.3, 0.3, 0.3], 0.3 + 1e-15, 0.01),
    ],
)
def test_share_at_which_a_curve_reaches_a_quality(curve, target, share):
    assert share_reached(SHARES, np.array(curve), target) == pytest.approx(share)


def test_figure_that_does_not_exist_reaches_nothing_that_is_known():
    assert math.isnan(share_reached(SHARES, np.array([0.2, math.nan, 0.8]), 0.1))
    assert math.isnan(share_reached(SHARES, np.array([0.2, 0.4, 0.8]), math.nan))


def test_steps_are_those_of_the_first_validation_that_is_good_enough():
    after, curve = (0.25, 0.5, 0.75, 1.0), np.array([0.1, 0.6, 0.6, 0.7])
    assert steps_reached(after, curve, 0.2) == 0.5
    assert steps_reached(after, curve, 0.65) == 1.0
    assert steps_reached(after, curve, 0.05) == 0.25
    assert steps_reached(after, curve, 0.71) == math.inf


def test_interval_ends_at_rounds_and_may_end_beyond_everything():
    rounds = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, math.inf, math.inf])
    found = Crossing.of(0.4, rounds, 0.2, 0.05)
    assert (found.lower, found.upper, found.reached) == (0.2, 0.8, 0.8)
    wide = Crossing.of(0.4, rounds, 0.05, 0.05)
    assert (wide.lower, wide.upper) == (0.1, math.inf)
    assert str(wide) == "40% [10%, not reached]"


def test_rounds_in_which_a_figure_does_not_exist_are_left_out():
    found = Crossing.of(0.4, np.array([0.3, math.nan, math.inf, math.nan]), 0.3, 0.05)
    assert (found.lower, found.upper, found.reached) == (0.3, math.inf, 0.5)
    nothing = Crossing.of(0.4, np.array([math.nan]), 0.3, 0.05)
    assert (nothing.share, math.isnan(nothing.lower), math.isnan(nothing.reached)) == (0.4, True, True)


@pytest.mark.parametrize(
    ("crossing", "told"),
    [
        (Crossing(0.05, 0.05, 0.123, 0.05, 1.0), "≤ 5% [≤ 5%, 12.3%]"),
        (Crossing(math.inf, 0.5, math.inf, 0.05, 0.2), "not reached [50%, not reached]"),
        (Crossing(1.0, math.nan, math.nan, 0.05, math.nan), "100% (no interval)"),
        (Crossing.unknown(), "–"),
    ],
)
def test_it_reads_as_a_share_with_its_interval(crossing, told):
    assert str(crossing) == told
