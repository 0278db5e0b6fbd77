"""Version B against version A on the same test set, paired by patient.

The interval of a difference: both versions are measured on the same resampled patients, round by round. The p value is
a permutation test's (`pipeline.evaluation.significance`): each round measures the two sets of results that come out
when the versions are swapped for a random half of the patients. What could have been shown is in
`pipeline.evaluation.power`.

For each stratum the primary metric is compared in the same way, by the same resampled and the same swapped patients;
where it is not a figure of strata, F1 stands for it. Sizes are compared by recall at each version's threshold: other
figures of a size would change with the size of false detections alone. All strata of all variables are one family of
tests for the correction. The levels are those that B was evaluated by, or A where B has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.errors import DatasetError
from pipeline.evaluation.bearing import patients_bearing
from pipeline.evaluation.figures import MEAN_AP, Measured
from pipeline.evaluation.grades import BY_SIZE, GAIN, GRADE_FIGURES, TRUE_GRADE
from pipeline.evaluation.part import Part
from pipeline.evaluation.power import ALPHA, detectable
from pipeline.evaluation.records import Comparison, Estimate, Evaluation, StratumDifference
from pipeline.evaluation.significance import holm, p_value, swaps
from pipeline.evaluation.strata import Strata, compared_by
from pipeline.evaluation.tables import ATTRIBUTE
from pipeline.evaluation.uncertainty import interval, patient_weights, patients_of


def compare(a: Evaluation, b: Evaluation, rounds: int, seed: int) -> Comparison:
    """Differences B - A of every figure that both have, with paired intervals and p values.

    f1, precision, recall, class figures and the count error hold at each version's own threshold. Class figures are
    those of the classes that both know; means over classes are left out where these differ. A version against itself
    differs by exactly 0 with p = 1.

    Args:
        a: the version compared with, usually the champion.
        b: the challenger.
        rounds: of the bootstrap, and as many of the permutation test.
        seed: of both.

    Raises:
        DatasetError: the two were not evaluated on the same cases and annotations by the same match rule.
    """
    _check(a, b)
    draws = _Draws.of(a, b, rounds, seed)
    classes = tuple(name for name in _classes(a) if name in _classes(b))
    one, other = _measured(a, classes), _measured(b, classes)
    values_a, values_b = one.values(), other.values()
    names = [name for name in values_a if name in values_b and _comparable(name, a, b)]
    bearing = patients_bearing(names, _cases(a), a.objects, draws.of_case)
    real = {name: values_b[name] - values_a[name] for name in names}
    resampled = _differences(one.figures(draws.weights), other.figures(draws.weights))
    swapped = _swapped_differences(one, other, draws.swapped)
    return Comparison(
        version_a=a.version,
        version_b=b.version,
        test_set=a.test_set,
        primary=a.primary,
        differences={name: draws.interval(real[name], resampled[name], bearing[name]) for name in names},
        p_values={name: p_value(real[name], swapped[name]) for name in names},
        values_a={name: values_a[name] for name in names},
        values_b={name: values_b[name] for name in names},
        patients=draws.patients,
        detectable={name: detectable(resampled[name], bearing[name]) for name in names},
        strata=_compared_strata(a, b, draws),
    )


def paired_cases(a: Evaluation, b: Evaluation) -> pd.DataFrame:
    """What each version found in each case, each at its own threshold: one row a case, in the order of case ids.

    ``case_id patient_key objects``, then ``hits false_positives misses`` of both with ``_a`` and ``_b``, and the
    attributes of the case.

    Raises:
        DatasetError: as `compare`.
    """
    _check(a, b)
    keys, counts = ["case_id", "patient_key", "objects"], ["hits", "false_positives", "misses"]
    one, other = _cases(a), _cases(b)
    attributes = [column for column in other.columns if str(column).startswith(ATTRIBUTE)]
    return pd.concat(
        [one[keys], one[counts].add_suffix("_a"), other[counts].add_suffix("_b"), other[attributes]], axis=1
    )


@dataclass(frozen=True, eq=False)
class _Draws:
    """``(rounds, cases)``: ``weights`` says how often a case is drawn, ``swapped`` where the versions change places."""

    weights: np.ndarray
    swapped: np.ndarray
    confidence: float
    of_case: np.ndarray
    alike: bool

    @classmethod
    def of(cls, a: Evaluation, b: Evaluation, rounds: int, seed: int) -> "_Draws":
        patients = patients_of(_cases(a))
        weights, swapped = patient_weights(patients, rounds, seed), swaps(patients, rounds, seed)
        return cls(weights, swapped, a.confidence, patients, a.threshold == b.threshold and a.objects.equals(b.objects))

    @property
    def patients(self) -> int:
        return len(np.unique(self.of_case))

    def interval(self, real: float, rounds: np.ndarray, patients: int) -> Estimate:
        """The interval of a difference; that of a version from itself is 0 … 0, which needs no sampling."""
        if self.alike and real == 0:
            return Estimate(real, 0.0, 0.0)
        return interval(real, rounds, self.confidence, patients)


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


def _comparable(name: str, a: Evaluation, b: Evaluation) -> bool:
    """Means over classes are of the same classes, and grades of the same truth, or they are other figures.

    What size alone gives is no version's own.
    """
    if name in (BY_SIZE, GAIN):
        return False
    if name in GRADE_FIGURES:
        return _true_grades(a) == _true_grades(b)
    return name not in ("class_f1_weighted", MEAN_AP) or set(_classes(a)) == set(_classes(b))


def _true_grades(evaluation: Evaluation) -> list[tuple[str, float]]:
    there = evaluation.objects[evaluation.objects[TRUE_GRADE].notna()]
    return sorted(zip(there["case_id"], there[TRUE_GRADE], strict=True))


def _cases(evaluation: Evaluation) -> pd.DataFrame:
    return evaluation.cases.sort_values("case_id", ignore_index=True)


def _measured(evaluation: Evaluation, classes: tuple[str, ...]) -> Measured:
    return Measured.of(_cases(evaluation), evaluation.objects, evaluation.threshold, classes)


def _differences(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: after[name] - before[name] for name in before if name in after}


def _swapped_differences(one: Measured, other: Measured, swapped: np.ndarray) -> dict[str, np.ndarray]:
    both, called_a = one.pooled_with(other), np.hstack([1 - swapped, swapped])
    return _differences(both.figures(called_a), both.figures(1 - called_a))


def _compared_strata(a: Evaluation, b: Evaluation, draws: _Draws) -> dict[str, dict[str, StratumDifference]]:
    divided = b if b.strata else a
    pairs = _paired_parts(a, b, divided)
    found = [
        (variable, level, *_compared_part(*parts, compared_by(variable, a.primary), draws))
        for variable, level, parts in pairs
    ]
    return _corrected(found)


def _paired_parts(a: Evaluation, b: Evaluation, divided: Evaluation) -> list[tuple[str, str, tuple[Part, Part]]]:
    """Levels that both have; attributes of the cases are those of ``divided``."""
    cases, limits = _cases(divided), divided.size_limits or None
    one, other = (Strata.of(cases, each.objects, tuple(divided.strata), each.threshold, limits) for each in (a, b))
    return [
        (variable, level, (one.parts[variable][level], part))
        for variable, level, part in other.each()
        if level in one.parts.get(variable, {})
    ]


def _compared_part(one: Part, other: Part, metric: str, draws: _Draws) -> tuple[StratumDifference, np.ndarray]:
    """The difference in one part, before any correction, and its bootstrap rounds."""
    value_a, value_b = (part.tally.values((metric,))[metric] for part in (one, other))
    real = value_b - value_a
    weights = draws.weights[:, one.cases]
    before, after = (part.tally.figures(weights, (metric,))[metric] for part in (one, other))
    mixed_a, mixed_b = one.tally.exchanged(other.tally, draws.swapped[:, one.cases], metric)
    patients = min(part.patients_behind(metric) for part in (one, other))
    compared = StratumDifference(
        metric=metric,
        value_a=value_a,
        value_b=value_b,
        difference=draws.interval(real, after - before, patients),
        p=p_value(real, mixed_b - mixed_a),
        p_adjusted=float("nan"),
        patients=patients,
        objects=int(one.tally.objects.sum()),
    )
    return compared, after - before


def _corrected(
    found: Sequence[tuple[str, str, StratumDifference, np.ndarray]],
) -> dict[str, dict[str, StratumDifference]]:
    p_values = np.array([one.p for _, _, one, _ in found])
    tests = max(1, int(np.isfinite(p_values).sum()))
    strata: dict[str, dict[str, StratumDifference]] = {}
    for (variable, level, one, rounds), adjusted in zip(found, holm(p_values), strict=True):
        shown = detectable(rounds, one.patients, ALPHA / tests)
        strata.setdefault(variable, {})[level] = replace(one, p_adjusted=float(adjusted), detectable=shown)
    return strata
