"""Version B against version A on the same test set, paired by patient.

The interval of a difference: both versions are measured on the same resampled patients, round by round.

The p value: a permutation test that flips the sign of patients' differences. If neither version is better, a patient's
results are as likely under the one name as under the other. A round swaps the versions for a random half of the
patients and measures both mixed sets; ``p`` is the share of rounds whose difference is at least as far from 0 as the
real one, that one counted too (Phipson & Smyth 2010, doi 10.2202/1544-6115.1585). With few patients p cannot be
small: four can be swapped in 16 ways.
"""

import numpy as np
import pandas as pd

from pipeline.errors import DatasetError
from pipeline.evaluation.figures import Measured
from pipeline.evaluation.records import Comparison, Evaluation
from pipeline.evaluation.uncertainty import interval, patient_weights, patients_of

# Differences that are equal in arithmetic may differ in the last bits.
_ROUNDING = 1e-12


def compare(a: Evaluation, b: Evaluation, rounds: int, seed: int) -> Comparison:
    """Differences B - A of every figure that both have, with paired intervals and p values.

    f1, precision, recall, class figures and the count error hold at each version's own threshold. Class figures are
    left out where the two were evaluated for different classes. A version against itself differs by exactly 0 with
    p = 1.

    Args:
        a: the version compared with, usually the champion.
        b: the challenger.
        rounds: of the bootstrap, and as many of the permutation test.
        seed: of both.

    Raises:
        DatasetError: the two were not evaluated on the same cases and annotations by the same match rule.
    """
    _check(a, b)
    patients = patients_of(_cases(a))
    count = len(np.unique(patients))
    classes = _classes(a) if set(_classes(a)) == set(_classes(b)) else ()
    one, other = _measured(a, classes), _measured(b, classes)
    values_a, values_b = one.values(), other.values()
    names = [name for name in values_a if name in values_b]
    real = {name: values_b[name] - values_a[name] for name in names}
    resampled = _differences(one, other, patient_weights(patients, rounds, seed))
    swapped = _swapped_differences(one, other, patients, rounds, seed)
    return Comparison(
        version_a=a.version,
        version_b=b.version,
        test_set=a.test_set,
        primary=a.primary,
        differences={name: interval(real[name], resampled[name], a.confidence, count) for name in names},
        p_values={name: _p_value(real[name], swapped[name]) for name in names},
        values_a={name: values_a[name] for name in names},
        values_b={name: values_b[name] for name in names},
        patients=count,
    )


def _check(a: Evaluation, b: Evaluation) -> None:
    what = f"versions {a.version} and {b.version} cannot be compared"
    again = "evaluate both on the same data with the same configuration"
    if a.test_set != b.test_set:
        raise DatasetError(f"{what}: their test sets differ, {a.test_set} and {b.test_set}; {again}")
    if a.match_rule != b.match_rule:
        raise DatasetError(f"{what}: their match rules differ, {a.match_rule} and {b.match_rule}; {again}")
    keys = ["case_id", "patient_key"]
    if not _cases(a)[keys].equals(_cases(b)[keys]):
        raise DatasetError(f"{what}: they pair cases with other patients; {again}, from the same catalog")


def _classes(evaluation: Evaluation) -> tuple[str, ...]:
    prefix = "class_f1_"
    names = (name.removeprefix(prefix) for name in evaluation.metrics if name.startswith(prefix))
    return tuple(name for name in names if name != "weighted")


def _cases(evaluation: Evaluation) -> pd.DataFrame:
    return evaluation.cases.sort_values("case_id", ignore_index=True)


def _measured(evaluation: Evaluation, classes: tuple[str, ...]) -> Measured:
    return Measured.of(_cases(evaluation), evaluation.objects, evaluation.threshold, classes)


def _differences(one: Measured, other: Measured, weights: np.ndarray) -> dict[str, np.ndarray]:
    before, after = one.figures(weights), other.figures(weights)
    return {name: after[name] - before[name] for name in before if name in after}


def _swapped_differences(
    one: Measured, other: Measured, patients: np.ndarray, rounds: int, seed: int
) -> dict[str, np.ndarray]:
    keys, patient_of_case = np.unique(patients, return_inverse=True)
    swap = np.random.default_rng(seed).integers(0, 2, size=(rounds, len(keys)))[:, patient_of_case]
    both = one.pooled_with(other)
    before = both.figures(np.hstack([1 - swap, swap]))
    after = both.figures(np.hstack([swap, 1 - swap]))
    return {name: after[name] - before[name] for name in before}


def _p_value(real: float, swapped: np.ndarray) -> float:
    """NaN where the difference does not exist."""
    there = swapped[np.isfinite(swapped)]
    if np.isnan(real):
        return float("nan")
    as_far = int((np.abs(there) >= abs(real) - _ROUNDING).sum())
    return (1 + as_far) / (1 + len(there))
