"""Several versions of one experiment, trained on other folds or from other seeds, as one set of figures.

Over folds every scan is judged once, by the version whose training did not see it, and counts at that version's own
threshold: f1, precision, recall, class figures, the count error, Jaccard and panoptic quality hold there. Ranking
figures (average precision, FROC and CPM, AP over IoU, ROC AUC) and the calibration of scores put the scores of all
folds in one list, as the challenges that ask for cross-validation do: they are lower than each fold's own where the
versions' scores mean different things.

Over seeds each figure is the mean of the seeds' figures. Intervals are by patient: in each round the same patients are
drawn for every seed. They say how the figure depends on the patients, given these versions; how it depends on the
training is said by the spread: number, mean, standard deviation (n - 1), least and greatest of the seeds' figures, and
of the folds' (each the mean of its seeds).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from pipeline.config.evaluation import EvaluationConfig
from pipeline.errors import DatasetError
from pipeline.evaluation.curves import curves_of
from pipeline.evaluation.figures import Measured
from pipeline.evaluation.part import PART_FIGURES, Part
from pipeline.evaluation.records import Curve, Estimate, Evaluation
from pipeline.evaluation.strata import Strata
from pipeline.evaluation.uncertainty import interval, patient_weights, patients_of

_CASE_COUNTS = ("hits", "false_positives", "misses")


@dataclass(frozen=True)
class Child:
    """What one version scored on the test cases of its fold. Without folds there is one fold, ``None``."""

    fold: int | None
    seed: int
    evaluation: Evaluation


@dataclass(frozen=True)
class Spread:
    """How a figure differs between ``count`` trainings; ``sd`` is NaN for one."""

    count: int
    mean: float
    sd: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of the figures that exist."""
        known = np.array([value for value in values if not np.isnan(value)])
        if len(known) == 0:
            return cls(0, np.nan, np.nan, np.nan, np.nan)
        sd = float(known.std(ddof=1)) if len(known) > 1 else np.nan
        return cls(len(known), float(known.mean()), sd, float(known.min()), float(known.max()))


@dataclass(frozen=True, eq=False)
class Pooled:
    """``spreads``: ``fold`` or ``seed`` → metric → spread, where there are several.

    ``cases`` has one row a case and seed, at the threshold of its version: the columns of the cases table after
    ``fold``, ``seed``, ``version`` and ``threshold``. ``curves`` are there for one seed. ``test_set`` names the cases,
    the versions' own test sets among them; it is never the digest of one version's test set.
    """

    test_set: str
    primary: str
    confidence: float
    counts: dict[str, int]
    metrics: dict[str, Estimate]
    strata: dict[str, dict[str, dict[str, Estimate]]]
    strata_counts: dict[str, dict[str, dict[str, int]]]
    spreads: dict[str, dict[str, Spread]]
    curves: dict[str, Curve]
    cases: pd.DataFrame

    def case_rows(self) -> pd.DataFrame:
        """``case_id patient_key objects``, each case once."""
        once = self.cases.drop_duplicates("case_id")[["case_id", "patient_key", "objects"]]
        return once.sort_values("case_id", ignore_index=True)

    def summary(self) -> dict[str, object]:
        """Everything but the cases and curves, ready for JSON."""
        return {
            "test_set": self.test_set,
            "primary": self.primary,
            "confidence": self.confidence,
            "counts": self.counts,
            "metrics": {name: asdict(one) for name, one in self.metrics.items()},
            "strata": {
                variable: {
                    level: {name: asdict(one) for name, one in figures.items()} for level, figures in levels.items()
                }
                for variable, levels in self.strata.items()
            },
            "strata_counts": self.strata_counts,
            "spreads": {
                over: {name: asdict(one) for name, one in spreads.items()} for over, spreads in self.spreads.items()
            },
        }


def pool(children: Sequence[Child], config: EvaluationConfig, classes: tuple[str, ...], seed: int = 0) -> Pooled:
    """Pool the evaluations of all folds and seeds.

    Args:
        children: every fold with every seed, each once.
        config: strata, size limits (by default the terciles of all folds' objects) and bootstrap.
        classes: the classes that are evaluated.
        seed: of the bootstrap.

    Raises:
        DatasetError: a fold is missing for a seed, a case or patient is in the test sets of two folds, or evaluations
            of one fold are on other cases or by another match rule.
    """
    by_seed = _by_seed(children)
    judged = [_Judged.of(folds, config, classes) for folds in by_seed.values()]
    first = judged[0]
    patients = patients_of(first.cases)
    weights = patient_weights(patients, config.bootstrap_rounds, seed)
    one_seed = len(judged) == 1
    return Pooled(
        test_set=_digest(children),
        primary=config.primary,
        confidence=config.confidence,
        counts=_counts(first.cases, one_seed),
        metrics=_metrics(judged, weights, config.confidence, len(np.unique(patients))),
        strata=_strata(judged, weights, config.confidence),
        strata_counts=first.strata.counts() if one_seed else _kept_by_all(first.strata.counts()),
        spreads=_spreads(by_seed, judged),
        curves=curves_of(first.measured) if one_seed else {},
        cases=_labelled_cases(children),
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the versions of one seed say: every case once, in the order of case ids."""

    cases: pd.DataFrame
    measured: Measured
    strata: Strata

    @classmethod
    def of(cls, folds: Sequence[Child], config: EvaluationConfig, classes: tuple[str, ...]) -> Self:
        cases = pd.concat([one.evaluation.cases for one in folds], ignore_index=True).sort_values(
            "case_id", ignore_index=True
        )
        # Inner: a match rule that only some folds could be judged by has no figure.
        objects = pd.concat([one.evaluation.objects for one in folds], ignore_index=True, join="inner")
        thresholds = np.concatenate([np.full(len(one.evaluation.objects), one.evaluation.threshold) for one in folds])
        # A score less its own threshold is at least 0 exactly where the score is at least the threshold.
        above = objects.assign(score=objects["score"].to_numpy() - thresholds)
        measured = _at_own_thresholds(
            Measured.of(cases, objects, 0.0, classes), Measured.of(cases, above, 0.0, classes)
        )
        named = config.strata, config.size_limits
        raw = Strata.of(cases, objects, named[0], 0.0, named[1])
        return cls(cases, measured, _strata_at(raw, Strata.of(cases, above, named[0], 0.0, named[1])))


def _at_own_thresholds(scored: Measured, thresholded: Measured) -> Measured:
    """Rankings by the scores themselves, counts at the thresholds."""
    return replace(scored, counts=thresholded.counts, agreements=thresholded.agreements, panoptic=thresholded.panoptic)


def _strata_at(scored: Strata, thresholded: Strata) -> Strata:
    parts: dict[str, dict[str, Part]] = {}
    for variable, level, part in scored.each():
        counted = thresholded.parts[variable][level].tally
        tally = replace(part.tally, hits=counted.hits, false=counted.false)
        parts.setdefault(variable, {})[level] = replace(part, tally=tally)
    return replace(scored, parts=parts)


def _by_seed(children: Sequence[Child]) -> dict[int, list[Child]]:
    """Seed → its folds in order, after all checks."""
    _check(children)
    seeds: dict[int, list[Child]] = {}
    for one in sorted(children, key=lambda child: (child.seed, -1 if child.fold is None else child.fold)):
        seeds.setdefault(one.seed, []).append(one)
    return seeds


def _check(children: Sequence[Child]) -> None:
    folds = dict.fromkeys(one.fold for one in children)
    seeds = dict.fromkeys(one.seed for one in children)
    given = [(one.fold, one.seed) for one in children]
    if sorted(given, key=str) != sorted(((fold, seed) for fold in folds for seed in seeds), key=str):
        raise DatasetError(f"expected every fold with every seed once, got (fold, seed) {given}")
    for fold in folds:
        own = [one.evaluation for one in children if one.fold == fold]
        _check_alike([one.test_set for one in own], f"the seeds of fold {fold} were judged on other cases")
    _check_alike([str(one.evaluation.match_rule) for one in children], "the versions were judged by other match rules")
    _check_apart([one.evaluation for one in children if one.seed == children[0].seed])


def _check_alike(values: Sequence[str], what: str) -> None:
    if len(set(values)) > 1:
        raise DatasetError(f"{what}: {', '.join(dict.fromkeys(values))}; the data changed between the trainings")


def _check_apart(folds: Sequence[Evaluation]) -> None:
    for column, what in (("case_id", "cases"), ("patient_key", "patients")):
        named = pd.concat([one.cases[column].drop_duplicates() for one in folds])
        twice = int(named.duplicated().sum())
        if twice:
            raise DatasetError(
                f"{twice} {what} are in the test sets of two folds: the data changed between the trainings, or "
                "data.split does not keep patients together"
            )


def _metrics(judged: Sequence[_Judged], weights: np.ndarray, confidence: float, patients: int) -> dict[str, Estimate]:
    values = [one.measured.values() for one in judged]
    rounds = [one.measured.figures(weights) for one in judged]
    names = [name for name in values[0] if all(name in own for own in values)]
    return {
        name: interval(
            float(np.mean([own[name] for own in values])),
            np.mean([own[name] for own in rounds], axis=0),
            confidence,
            patients,
        )
        for name in names
    }


def _strata(
    judged: Sequence[_Judged], weights: np.ndarray, confidence: float
) -> dict[str, dict[str, dict[str, Estimate]]]:
    found: dict[str, dict[str, dict[str, Estimate]]] = {}
    for variable, level, parts in _same_parts(judged):
        rounds = [part.tally.figures(weights[:, part.cases]) for part in parts]
        values = [part.tally.values() for part in parts]
        # False detections are each version's own, and so are the patients of a part that have nothing else.
        found.setdefault(variable, {})[level] = {
            name: interval(
                float(np.mean([own[name] for own in values])),
                np.mean([own[name] for own in rounds], axis=0),
                confidence,
                min(part.patients_behind(name) for part in parts),
            )
            for name in PART_FIGURES
        }
    return found


def _same_parts(judged: Sequence[_Judged]) -> Iterator[tuple[str, str, list[Part]]]:
    for variable, level, _ in judged[0].strata.each():
        parts = [one.strata.parts.get(variable, {}).get(level) for one in judged]
        known = [part for part in parts if part is not None]
        if len(known) == len(judged):
            yield variable, level, known


def _spreads(by_seed: Mapping[int, Sequence[Child]], judged: Sequence[_Judged]) -> dict[str, dict[str, Spread]]:
    """Of the seeds' pooled figures; and of the folds' own, each the mean of its seeds."""
    spreads: dict[str, dict[str, Spread]] = {}
    columns = list(zip(*by_seed.values(), strict=True))  # one a fold: its versions of all seeds
    if len(columns) > 1:
        folds = [_means([one.evaluation.metrics for one in column]) for column in columns]
        spreads["fold"] = _spread(folds)
    if len(judged) > 1:
        spreads["seed"] = _spread([one.measured.values() for one in judged])
    return spreads


def _means(versions: Sequence[Mapping[str, Estimate]]) -> dict[str, float]:
    shared = [name for name in versions[0] if all(name in own for own in versions)]
    return {name: float(np.mean([own[name].value for own in versions])) for name in shared}


def _spread(trainings: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = dict.fromkeys(name for one in trainings for name in one)
    return {name: Spread.of([one.get(name, np.nan) for one in trainings]) for name in names}


def _labelled_cases(children: Sequence[Child]) -> pd.DataFrame:
    tables = []
    for one in children:
        own = one.evaluation
        tables.append(own.cases.assign(fold=one.fold, seed=one.seed, version=own.version, threshold=own.threshold))
    table = pd.concat(tables, ignore_index=True)
    first = ["fold", "seed", "version", "threshold"]
    return table[[*first, *(name for name in table.columns if name not in first)]]


def _counts(cases: pd.DataFrame, one_seed: bool) -> dict[str, int]:
    """Of the test set; what was found in it is each seed's own."""
    found = _CASE_COUNTS if one_seed else ()
    return {
        "patients": int(cases["patient_key"].nunique()),
        "cases": len(cases),
        "cases_without_objects": int((cases["objects"] == 0).sum()),
        **{name: int(cases[name].sum()) for name in ("objects", "ignored_objects", *found)},
    }


def _kept_by_all(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, dict[str, int]]]:
    """What a part holds, whatever was found in it."""
    return {
        variable: {
            level: {name: held[name] for name in ("patients", "cases", "objects")} for level, held in levels.items()
        }
        for variable, levels in counts.items()
    }


def _digest(children: Sequence[Child]) -> str:
    folds = sorted({f"{one.fold}:{one.evaluation.test_set}" for one in children})
    return hashlib.sha256("|".join(["pooled", *folds]).encode()).hexdigest()[:16]
