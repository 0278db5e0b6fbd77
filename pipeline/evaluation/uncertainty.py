"""Intervals by resampling patients: scans of one patient resemble each other, so patients are drawn, not scans.

The percentile bootstrap (Efron & Tibshirani 1993, chapter 13). A round draws as many patients as there are, with
replacement; a scan counts as often as its patient was drawn. Rounds in which a figure does not exist are left out
of its interval. One patient alone has no interval.
"""

import numpy as np
import pandas as pd

from pipeline.evaluation.records import Estimate


def patients_of(cases: pd.DataFrame) -> np.ndarray:
    """Each case's patient, str ``(cases,)``, named by the patient's first case id.

    Patient keys are hashed with a secret of the home folder. Named by content, the same data give the same rounds, and
    so the same intervals, everywhere.
    """
    return cases.groupby("patient_key")["case_id"].transform("min").to_numpy(dtype=str)


def patient_weights(patients: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    """How often each case counts in each bootstrap round, int ``(rounds, cases)``.

    Args:
        patients: patient of each case, ``(cases,)``; see `patients_of`.
        rounds: how many rounds.
        seed: the same seed draws the same patients, whatever the version and the order of cases.
    """
    keys, patient_of_case = np.unique(patients, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=rounds)
    return drawn[:, patient_of_case]


def interval(value: float, rounds: np.ndarray, confidence: float, patients: int) -> Estimate:
    """A figure with the percentile interval of its bootstrap rounds ``(rounds,)``."""
    there = rounds[np.isfinite(rounds)]
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan)
    if patients < 2 or len(there) == 0:
        return Estimate(value, np.nan, np.nan)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(there, [tail, 1 - tail])
    return Estimate(value, float(lower), float(upper))
