"""Resampling patients."""

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.figures import Measured
from pipeline.evaluation.uncertainty import interval, patient_weights, patients_of


def test_each_round_draws_as_many_patients_as_there_are():
    patients = np.array(["p1", "p2", "p2", "p3", "p4"])
    weights = patient_weights(patients, rounds=500, seed=0)
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3, 4]].sum(axis=1) == 4).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(5), abs=0.15)


def test_a_patient_draws_the_same_rounds_wherever_his_scans_stand():
    order = [3, 0, 4, 2, 1]
    patients = np.array(["p1", "p2", "p2", "p3", "p4"])
    weights = patient_weights(patients, rounds=50, seed=3)
    assert (patient_weights(patients[order], rounds=50, seed=3) == weights[:, order]).all()


def test_weighting_a_case_is_the_same_as_repeating_it(random_field, config):
    """Each bootstrap round's figures equal those of a test set that really holds the drawn scans."""
    cases = [random_field(f"{seed:02}", seed, patient=f"p{seed // 2}") for seed in range(10)]
    classes = ("tumour", "other")
    whole = evaluate(cases, config, classes, "v", 0.5)
    weights = patient_weights(whole.cases["patient_key"].to_numpy(dtype=str), rounds=8, seed=1)
    rounds = Measured.of(whole.cases, whole.objects, 0.5, classes).figures(weights)
    assert {"f1", "cpm", "ap_iou_0_50", "class_f1_other", "average_precision"} <= set(rounds)
    for index, row in enumerate(weights):
        drawn = [
            random_field(f"{seed:02} again {again}", seed, patient=f"p{seed // 2} again {again}")
            for seed, times in enumerate(row)
            for again in range(times)
        ]
        literal = evaluate(drawn, config, classes, "v", 0.5)
        for name, figure in rounds.items():
            assert figure[index] == pytest.approx(literal.metrics[name].value, nan_ok=True), name


def test_interval_is_the_percentiles_of_the_rounds_for_very_many_patients():
    estimate = interval(0.5, np.arange(101) / 100, confidence=0.9, patients=10**6)
    assert (estimate.lower, estimate.upper) == pytest.approx((0.05, 0.95), abs=1e-5)


def test_interval_of_few_patients_is_expanded():
    """n = 10 at 95 %: t is -2.26216, times √(10/9) is -2.38451, below which the normal curve has 0.855 %."""
    estimate = interval(0.5, np.arange(10_001) / 10_000, confidence=0.95, patients=10)
    assert (estimate.lower, estimate.upper) == pytest.approx((0.00855, 0.99145), abs=1e-5)


@pytest.mark.parametrize(("patients", "rounds"), [(4, np.arange(101) / 100), (50, np.full(101, 0.5))])
def test_few_patients_and_figures_that_never_vary_have_no_interval(patients, rounds):
    estimate = interval(0.5, rounds, confidence=0.95, patients=patients)
    assert estimate.value == 0.5
    assert str(estimate) == "0.500 (no interval)"


def test_rounds_without_the_figure_are_left_out():
    estimate = interval(0.5, np.array([np.nan, 0.2, 0.4, np.nan]), confidence=0.95, patients=7)
    assert 0.2 <= estimate.lower <= estimate.upper <= 0.4


def test_figure_that_does_not_exist_has_no_interval():
    estimate = interval(math.nan, np.array([0.1, 0.2]), confidence=0.95, patients=7)
    assert math.isnan(estimate.value)
    assert math.isnan(estimate.lower)
    assert math.isnan(estimate.upper)


def test_one_patient_has_no_interval(scan, config):
    cases = [scan("a", [(1,)], [(1, 0.9)], patient="p"), scan("b", [(1,)], patient="p")]
    recall = evaluate(cases, config, ("tumour",), "v", 0.5).metrics["recall"]
    assert recall.value == 0.5
    assert math.isnan(recall.lower)
    assert math.isnan(recall.upper)


def test_interval_is_wider_when_scans_share_patients(random_field, config):
    """The same 40 scans, of 40 patients or of 5: resampling 5 whole patients varies more."""

    def width(patients: int) -> float:
        cases = [
            random_field(f"{seed:02}", seed, f"p{seed % patients}", skill=0.2 + 0.15 * (seed % 5)) for seed in range(40)
        ]
        recall = evaluate(cases, config, ("tumour",), "v", 0.5).metrics["recall"]
        return recall.upper - recall.lower

    assert width(5) > 1.3 * width(40)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """200 test sets of 60 patients with one object each, found with probability .7: 95 % intervals of recall."""
    rng = np.random.default_rng(0)
    weights = patient_weights(np.arange(60).astype(str), rounds=400, seed=0)
    covered = 0
    for _ in range(200):
        found = rng.random(60) < 0.7
        estimate = interval(found.mean(), weights @ found / 60, 0.95, patients=60)
        covered += estimate.lower <= 0.7 <= estimate.upper
    assert 0.90 <= covered / 200 <= 0.99


def test_patients_are_named_by_content_so_that_another_homes_keys_give_the_same_rounds():
    cases = pd.DataFrame({"case_id": ["c", "a", "b"], "patient_key": ["k1", "k2", "k1"]})
    other = cases.assign(patient_key=["z", "y", "z"])
    assert patients_of(cases).tolist() == patients_of(other).tolist() == ["b", "a", "b"]
