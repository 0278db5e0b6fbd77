"""Is a difference more than chance? A permutation test by patient, and the correction for many tests.

If neither version is better, a patient's results are as likely under the one name as under the other. A round swaps
the versions for a random half of the patients. ``p`` is the share of rounds whose difference is at least as far from 0
as the real one, that one counted too (Phipson & Smyth 2010, doi 10.2202/1544-6115.1585). With few patients p cannot be
small: four can be swapped in 16 ways, of which two differ as much as the real one or more.
"""

import numpy as np

# Differences that are equal in arithmetic may differ in the last bits.
_ROUNDING = 1e-12


def swaps(patients: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    """Which cases have their versions swapped, 0 or 1 ``(rounds, cases)``, the same for all cases of a patient.

    Args:
        patients: patient of each case, ``(cases,)``; see `pipeline.evaluation.uncertainty.patients_of`.
        rounds: how many rounds.
        seed: the same seed swaps the same patients, whatever the order of cases.
    """
    keys, patient_of_case = np.unique(patients, return_inverse=True)
    return np.random.default_rng(seed).integers(0, 2, size=(rounds, len(keys)))[:, patient_of_case]


def p_value(real: float, swapped: np.ndarray) -> float:
    """Two-sided p of a difference among those of the swapped rounds ``(rounds,)``.

    Rounds in which the figure does not exist (NaN) are left out. NaN where the real difference does not exist.
    """
    there = swapped[np.isfinite(swapped)]
    if np.isnan(real):
        return float("nan")
    as_far = int((np.abs(there) >= abs(real) - _ROUNDING).sum())
    return (1 + as_far) / (1 + len(there))


def smallest_p(patients: int, rounds: int) -> float:
    """What p can at best be: every patient differs the same way, and only the swap of all differs as much."""
    return max(2.0 ** (1 - patients), 1 / (1 + rounds))


def holm(p_values: np.ndarray) -> np.ndarray:
    """p values ``(n,)`` corrected for n tests (Holm, Scand. J. Statist. 6:65, 1979); NaN is no test and stays NaN.

    The i-th smallest of m is multiplied by ``m - i + 1`` and is never below a smaller one's. The chance that any true
    null hypothesis falls below 0.05 is then at most 0.05, however the tests depend on each other.
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(given))
    order = tests[np.argsort(given[tests], kind="stable")]
    factor = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factor), 1.0)
    return adjusted
