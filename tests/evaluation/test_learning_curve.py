"""Curves of trainings whose detections are written by hand: six patients with one scan of four objects each."""

import dataclasses
import json
import math

import numpy as np
import pytest

from pipeline.errors import DatasetError
from pipeline.evaluation import evaluate
from pipeline.evaluation.learning_curve import SCRATCH, TRANSFERRED, Training, Validated, learning_curve
from pipeline.evaluation.seeds import mean_over_seeds, seed_tail, seed_weights
from tests.evaluation.conftest import make_scan

PATIENTS, OBJECTS = 6, 4
_VALIDATION = {SCRATCH: ((10, 0.2), (20, 0.5), (40, 0.6)), TRANSFERRED: ((10, 0.4), (20, 0.6), (40, 0.7))}


def training(config, way, share, seed, found, validation=None, extra=0):
    """``found`` of the four objects of each patient, and of the first patient ``extra`` more."""
    scans = [
        make_scan(f"{n}", [(k,) for k in range(OBJECTS)], [(k, 0.9) for k in range(found + (extra if n == 0 else 0))])
        for n in range(PATIENTS)
    ]
    evaluation = evaluate(scans, config, ("tumour",), f"cells/{way}{share}{seed}", 0.5)
    return Training(way, share, seed, evaluation, _VALIDATION[way] if validation is None else validation)


def recall_f1(found):
    """F1 without false detections: ``2 r / (1 + r)``."""
    share = found / OBJECTS
    return 2 * share / (1 + share)


@pytest.fixture(scope="module")
def trainings(config):
    """Found at shares 0.1 and 1: scratch 1 and 2, transferred 1 and 4, from seeds 0 and 1 alike."""
    found = {(SCRATCH, 0.1): 1, (SCRATCH, 1.0): 2, (TRANSFERRED, 0.1): 1, (TRANSFERRED, 1.0): 4}
    return [training(config, *at, seed, number) for at, number in found.items() for seed in (0, 1)]


def curve_of(trainings, config, **more):
    return learning_curve(trainings, config, ("tumour",), 40, **more)


def test_points_are_means_of_the_seeds(apart, config):
    better = [one if one.way == SCRATCH else training(config, one.way, one.share, one.seed, 4) for one in apart]
    curve = curve_of(better, config)
    assert curve.shares == (0.5, 1.0)
    assert curve.seeds == (0, 1)
    assert curve.counts == {"patients": 6, "cases": 6, "objects": 24}
    assert curve.curves[SCRATCH][0].each == pytest.approx((0.4, 1.0))
    assert curve.reference.value == pytest.approx(0.7)
    assert [point.figure.value for point in curve.curves[TRANSFERRED]] == [1.0, 1.0]
    assert [gain.value for gain in curve.gains] == pytest.approx([0.3, 0.3])


def test_data_needed_is_where_transferred_first_is_as_good_as_scratch_with_everything(trainings, config):
    """Transferred rises from F1 0.4 to 1 over one decade, scratch ends at 2/3: after 4/9 of the decade."""
    needed = curve_of(trainings, config).needed_data
    assert needed.share == pytest.approx(0.1 * 10 ** ((2 / 3 - 0.4) / 0.6))
    assert needed.smallest == 0.1


def test_worse_transfer_never_gets_there(trainings, config):
    swapped = [dataclasses.replace(one, way=TRANSFERRED if one.way == SCRATCH else SCRATCH) for one in trainings]
    needed = curve_of(swapped, config).needed_data
    assert (needed.share, needed.upper, needed.reached) == (math.inf, math.inf, 0.0)


def test_steps_needed_are_those_of_the_validation_that_is_as_good_as_the_end_of_scratch(trainings, config):
    curve = curve_of(trainings, config)
    assert curve.needed_steps.share == 20 / 40
    assert (curve.needed_steps.lower, curve.needed_steps.upper) == (0.5, 0.5)
    assert curve.validated[TRANSFERRED].steps == (10, 20, 40)


def test_detector_of_the_best_validation_so_far_is_the_one_that_counts(trainings, config):
    """Scratch validated best, 0.6, half-way; transferred reaches that at its first validation and loses it again."""
    falling = {SCRATCH: ((10, 0.2), (20, 0.6), (40, 0.3)), TRANSFERRED: ((10, 0.6), (20, 0.1), (40, 0.2))}
    curve = curve_of([dataclasses.replace(one, validation=falling[one.way]) for one in trainings], config)
    assert curve.needed_steps.share == 0.25
    assert str(curve.needed_steps).startswith("≤ 25%")


def test_trainings_that_end_early_keep_what_they_had():
    own = Validated.of([_validated((10, 0.5), (20, 0.4)), _validated((20, 0.3), (40, 0.8))])
    assert own.steps == (10, 20, 40)
    np.testing.assert_array_equal(own.each, [[0.5, 0.4, math.nan], [math.nan, 0.3, 0.8]])
    np.testing.assert_array_equal(own.kept, [[0.5, 0.5, 0.5], [0.0, 0.3, 0.8]])


def _validated(*figures):
    return Training(SCRATCH, 1.0, 0, None, figures)


def test_without_validations_nothing_is_said_of_steps(trainings, config):
    curve = curve_of([dataclasses.replace(one, validation=()) for one in trainings], config)
    assert math.isnan(curve.needed_steps.share)


@pytest.fixture(scope="module")
def apart(config):
    """Every patient alike, and seeds far apart: F1 0.4 from one and 1 from the other, everywhere."""
    at = [(way, share) for way in (SCRATCH, TRANSFERRED) for share in (0.5, 1.0)]
    return [training(config, *place, seed, 1 + 3 * seed) for place in at for seed in (0, 1)]


def test_seeds_that_differ_make_an_interval_where_patients_are_all_alike(apart, config):
    figure = curve_of(apart, config).curves[SCRATCH][0].figure
    assert (figure.lower, figure.upper) == pytest.approx((recall_f1(1), recall_f1(4)))
    single = curve_of([one for one in apart if one.seed == 0], config)
    assert single.curves[SCRATCH][0].figure.value == pytest.approx(recall_f1(1))
    assert math.isnan(single.curves[SCRATCH][0].figure.lower)
    assert single.needed_steps.share == 0.5
    assert math.isnan(single.needed_steps.lower)


def test_patients_that_differ_make_an_interval_from_one_seed(config):
    at = [(way, share) for way in (SCRATCH, TRANSFERRED) for share in (0.5, 1.0)]
    curve = curve_of([training(config, *place, 0, 1, extra=3) for place in at], config)
    whole = curve.curves[SCRATCH][0].figure
    assert whole.value == pytest.approx(2 * 9 / (9 + 24))  # of 24 objects 4 + 5 x 1 are found
    assert whole.lower == pytest.approx(recall_f1(1))  # the first patient is not drawn
    assert whole.value < whole.upper < 1


def test_same_seeds_are_drawn_for_every_point(apart, config):
    """Both ways alike from each seed: the gain is 0 in every round, and so has no interval."""
    assert all((gain.value, math.isnan(gain.lower)) == (0.0, True) for gain in curve_of(apart, config).gains)


def test_ranking_metric_needs_no_threshold(trainings, config):
    ranked = config.model_copy(update={"primary": "average_precision"})
    curve = curve_of(trainings, ranked)
    assert [point.figure.value for point in curve.curves[TRANSFERRED]] == pytest.approx([0.25, 1.0])


def test_two_of_three_seeds_are_drawn_and_their_mean_varies_as_that_of_three_does():
    drawn = seed_weights(3, 20_000, 0)
    assert set(drawn.sum(axis=1)) == {2}
    figures = np.array([0.0, 0.3, 0.9])[:, None] * np.ones(20_000)
    means = mean_over_seeds(figures, drawn)
    assert means.mean() == pytest.approx(0.4, abs=0.005)
    assert means.var() == pytest.approx(np.var([0.0, 0.3, 0.9], ddof=1) / 3, rel=0.03)
    assert set(seed_weights(1, 5, 0).ravel()) == {1}
    assert seed_tail(1, 0.95) is None


def test_figure_of_a_seed_that_was_not_drawn_may_be_missing():
    figures = np.array([[0.5, 0.5], [math.nan, math.nan]])
    means = mean_over_seeds(figures, np.array([[1, 0], [0, 1]]))
    assert (means[0], math.isnan(means[1])) == (0.5, True)


def test_curve_comes_back_from_json_with_ends_that_are_infinite(trainings, config):
    curve = curve_of(trainings, config)
    endless = dataclasses.replace(curve, needed_data=dataclasses.replace(curve.needed_data, upper=math.inf))
    again = type(curve).from_json(json.loads(json.dumps(endless.to_json())))
    assert repr(again) == repr(endless)


def test_rows_have_both_ways_and_the_gain(trainings, config):
    rows = curve_of(trainings, config).rows()
    assert rows["way"].tolist() == [SCRATCH, SCRATCH, TRANSFERRED, TRANSFERRED, "gain", "gain"]
    assert rows["value"].tolist() == pytest.approx([0.4, 2 / 3, 0.4, 1.0, 0.0, 1 / 3])


def test_missing_training_share_or_equal_test_set_is_refused(trainings, config):
    with pytest.raises(DatasetError, match="expected both ways in at every share from every seed, each once"):
        curve_of(trainings[1:], config)
    with pytest.raises(DatasetError, match="expected share 1 in"):
        curve_of([one for one in trainings if one.share < 1], config)
    other = dataclasses.replace(trainings[0].evaluation, test_set="another")
    with pytest.raises(DatasetError, match="judged on other cases"):
        curve_of([dataclasses.replace(trainings[0], evaluation=other), *trainings[1:]], config)
