"""Simulated versions whose true difference is known: how often does the test say that they differ?

A patient has his own number of objects, his own difficulty and his own rate of false detections, so that results of
one patient resemble each other. Both versions are drawn from the same numbers, independently. What is resampled,
swapped and measured goes through the functions that `compare` uses.
"""

import numpy as np
import pytest

from pipeline.evaluation.part import Rows, Tally
from pipeline.evaluation.power import detectable
from pipeline.evaluation.significance import holm, p_value, swaps
from pipeline.evaluation.uncertainty import patient_weights

SIMULATIONS = 1000
PATIENTS = 40
NAMES = np.arange(PATIENTS).astype(str)


def patients_of_a_test_set(rng):
    """Objects ``(patients,)``, the chance that one is found, and the mean number of false detections."""
    return rng.integers(1, 9, PATIENTS), rng.beta(4, 2, PATIENTS), rng.gamma(2, 0.5, PATIENTS)


def drawn_version(rng, objects, chance, rate) -> Tally:
    """A version's detections: scores of hits and of false ones overlap."""
    hits, false = rng.binomial(objects, chance), rng.poisson(rate)
    patients = np.arange(PATIENTS)
    case = np.concatenate([np.repeat(patients, number) for number in (hits, false, objects - hits)])
    kind = np.repeat(["hit", "false", "missed"], [hits.sum(), false.sum(), (objects - hits).sum()])
    score = np.concatenate(
        [rng.beta(4, 2, hits.sum()), rng.beta(2, 4, false.sum()), np.full((kind == "missed").sum(), np.nan)]
    )
    rows = Rows(case, score, kind == "hit", kind == "false", kind == "missed")
    return Tally.of(rows, PATIENTS, threshold=0.4)


def p_of(one: Tally, other: Tally, swapped: np.ndarray, name: str) -> float:
    real = other.values((name,))[name] - one.values((name,))[name]
    mine, theirs = one.exchanged(other, swapped, name)
    return p_value(real, theirs - mine)


@pytest.mark.parametrize("name", ["f1", "recall", "average_precision", "cpm"])
def test_twins_are_told_apart_in_five_of_a_hundred(name):
    """1,000 pairs of versions without a true difference: 5 % ± 1.5 % are rejected at 0.05."""
    rng = np.random.default_rng(4)
    p_values = []
    for simulation in range(SIMULATIONS):
        world = patients_of_a_test_set(rng)
        one, other = drawn_version(rng, *world), drawn_version(rng, *world)
        p_values.append(p_of(one, other, swaps(NAMES, rounds=199, seed=simulation), name))
    assert 0.035 <= np.mean(np.array(p_values) <= 0.05) <= 0.065
    # Spread evenly, or a little above: differences of whole numbers are often equal, and equal ones count as as far.
    assert 0.47 <= np.mean(p_values) <= (0.60 if name == "recall" else 0.53)


def test_any_of_eight_strata_is_told_apart_in_at_most_five_of_a_hundred():
    """Of twins, F1 and precision in four strata of ten patients: uncorrected, three times as many."""
    rng = np.random.default_rng(5)
    strata = np.array_split(np.arange(PATIENTS), 4)
    smallest, adjusted = [], []
    for simulation in range(SIMULATIONS):
        world = patients_of_a_test_set(rng)
        one, other = drawn_version(rng, *world), drawn_version(rng, *world)
        swapped = swaps(NAMES, rounds=399, seed=simulation)
        parts = [(some_cases(one, part), some_cases(other, part), swapped[:, part]) for part in strata]
        p = np.array([p_of(*part, name) for part in parts for name in ("f1", "precision")])
        smallest.append(np.nanmin(p))
        adjusted.append(np.nanmin(holm(p)))
    assert np.mean(np.array(smallest) <= 0.05) > 0.15
    assert 0.01 <= np.mean(np.array(adjusted) <= 0.05) <= 0.065


def some_cases(tally: Tally, cases: np.ndarray) -> Tally:
    return Tally(tally.objects[cases], tally.hits[cases], tally.false[cases], lambda: tally.ranking)


@pytest.mark.parametrize(("name", "better", "false"), [("recall", 0.067, 0.0), ("f1", 0.069, 1.0)])
def test_detectable_difference_is_shown_in_eighty_of_a_hundred(name, better, false):
    """B finds more by so much that its true difference is what `detectable` says: the test sees it with 80 % power.

    A few of a hundred less: equal differences count as as far, and a bootstrap's standard error is a little small.
    """
    rng = np.random.default_rng(6)
    weights = patient_weights(NAMES, 400, seed=0)
    p_values, told, real = [], [], []
    for simulation in range(SIMULATIONS):
        objects, chance = rng.integers(10, 41, PATIENTS), rng.uniform(0.4, 0.8, PATIENTS)
        rate = np.full(PATIENTS, false)
        one, other = (drawn_version(rng, objects, each, rate) for each in (chance, chance + better))
        before, after = (version.figures(weights, (name,))[name] for version in (one, other))
        told.append(detectable(after - before, PATIENTS))
        real.append(other.values((name,))[name] - one.values((name,))[name])
        p_values.append(p_of(one, other, swaps(NAMES, 199, seed=simulation), name))
    assert np.mean(told) == pytest.approx(np.mean(real), rel=0.03)
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.78, abs=0.05)
