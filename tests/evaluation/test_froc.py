"""FROC and CPM, worked by hand on the five scans of `conftest.py`.

Sensitivity at a rate is the last one whose false positives stay within rate x 5 scans:

====  =========  ===========
rate  FP within  sensitivity
====  =========  ===========
1/8   0.625      .2
1/4   1.25       .6
1/2   2.5        .8
1     5          .8
2     10         .8
4     20         .8
8     40         .8
====  =========  ===========

CPM = (.2 + .6 + 5 x .8) / 7 = 4.8 / 7.
"""

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data

from pipeline.config.evaluation import CentreDistance
from pipeline.evaluation.curves import froc_curve
from pipeline.evaluation.froc import CPM_RATES, froc_figures, sensitivities
from pipeline.evaluation.matching import match_cases
from pipeline.evaluation.ranking import Ranking


def ranked(cases) -> Ranking:
    return Ranking.of_matches(match_cases(cases, CentreDistance(distance=6.0)))


def at_rates(cases) -> list[float]:
    return at(cases, CPM_RATES)


def at(cases, rates: tuple[float, ...]) -> list[float]:
    ranking = ranked(cases)
    return sensitivities(ranking, ranking.once, rates)[0].tolist()


def test_five_scans_give_the_table(five_scans):
    assert at_rates(five_scans) == pytest.approx([0.2, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8])
    ranking = ranked(five_scans)
    figures = froc_figures(ranking, ranking.once)
    expected = {"cpm": 4.8 / 7, "sensitivity_at_0_25_fp": 0.6, "sensitivity_at_1_fp": 0.8}
    assert {name: float(figure[0]) for name, figure in figures.items()} == pytest.approx(expected)


def test_rates_are_those_of_the_literature():
    assert CPM_RATES == (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)


def test_rate_met_exactly_counts(five_scans):
    assert at(five_scans, (0.2, 0.199)) == pytest.approx([0.6, 0.2])


def test_hundred_empty_scans_spread_the_same_false_positives(five_scans, scan):
    """105 scans: 1/8 allows 13.1 false positives and there are 4 in all, so every rate gives .8."""
    more = [*five_scans, *(scan(f"empty {index:03}") for index in range(100))]
    assert at_rates(more) == pytest.approx([0.8] * 7)
    before, after = froc_curve(ranked(five_scans)), froc_curve(ranked(more))
    assert after.y == before.y
    assert np.array(after.x) == pytest.approx(np.array(before.x) * 5 / 105)


def test_hundred_empty_scans_with_a_false_positive_each(five_scans, scan):
    """At .99 each they come first: 100 FP before the first hit. 1/2 allows 52.5, 1 allows 105: all 104 of them."""
    more = [*five_scans, *(scan(f"empty {index:03}", [], [(9, 0.99)]) for index in range(100))]
    assert at_rates(more) == pytest.approx([0, 0, 0, 0.8, 0.8, 0.8, 0.8])


def test_curve_has_each_corner_of_the_table(five_scans):
    curve = froc_curve(ranked(five_scans))
    assert curve.x == pytest.approx((0, 0, 0.2, 0.2, 0.4, 0.8))
    assert curve.y == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 0.8))


def test_hit_and_false_of_one_score_come_together_in_any_order(scan):
    """A threshold of .5 takes both, so the object is never found without the false positive."""
    for detections in ([(1, 0.5), (9, 0.5)], [(9, 0.5), (1, 0.5)]):
        assert at_rates([scan("a", [(1,)], detections)]) == [0, 0, 0, 1, 1, 1, 1]
    apart = [scan("a", [(1,)], [(1, 0.5)]), scan("b", [], [(9, 0.5)])]
    assert at_rates(apart) == at_rates(apart[::-1]) == [0, 0, 1, 1, 1, 1, 1]


def test_without_an_object_sensitivity_does_not_exist(scan):
    assert np.isnan(at_rates([scan("a", [], [(9, 0.5)])])).all()
    assert froc_curve(ranked([scan("a", [], [(9, 0.5)])])).x == ()


def test_without_a_detection_sensitivity_is_zero(scan):
    assert at_rates([scan("a", [(1,)])]) == [0] * 7


def test_corners_lie_on_the_curve_of_monai(random_field):
    """MONAI's curve has a point a threshold; ours keeps those at which sensitivity rises. Its first threshold (the
    lowest score) is left out there, so the last of ours may be missing."""
    cases = [random_field(f"{seed:02}", seed) for seed in range(20)]
    ranking = ranked(cases)
    rate, found = compute_froc_curve_data(
        ranking.false_score, ranking.hit_score, num_targets=int(ranking.objects.sum()), num_images=len(cases)
    )
    theirs = set(zip(rate.round(9).tolist(), found.round(9).tolist(), strict=True))
    recall = ranking.step_hits / ranking.objects.sum()
    ours = list(zip((ranking.step_false / 20).round(9).tolist(), recall.round(9).tolist(), strict=True))
    assert len(ours) > 20
    assert set(ours[:-1]) <= theirs
