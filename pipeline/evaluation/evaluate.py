"""Scored cases → the figures of one model version, each with its interval."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.config.evaluation import EvaluationConfig
from pipeline.errors import DatasetError
from pipeline.evaluation.bearing import patients_bearing
from pipeline.evaluation.centre_f1 import f1
from pipeline.evaluation.confusion import confusion
from pipeline.evaluation.curves import curves_of
from pipeline.evaluation.figures import Measured, ranked_figures
from pipeline.evaluation.matching import CaseMatches, match_cases
from pipeline.evaluation.overlaps import objects_with_overlaps
from pipeline.evaluation.ranking import Ranking
from pipeline.evaluation.records import Estimate, Evaluation, ScoredCase
from pipeline.evaluation.strata import Strata
from pipeline.evaluation.tables import cases_table
from pipeline.evaluation.uncertainty import interval, patient_weights, patients_of

REPORT_NOTHING = 1.0


def evaluate(
    cases: Sequence[ScoredCase],
    config: EvaluationConfig,
    classes: tuple[str, ...],
    version: str,
    threshold: float,
    seed: int = 0,
) -> Evaluation:
    """Match every case once and compute every figure with its bootstrap interval.

    Args:
        cases: annotations and detections of each test case, all scores kept.
        config: match rule, primary metric, box overlaps, bootstrap.
        classes: the classes that are evaluated.
        version: the model version, for the record.
        threshold: detections with at least this score count for f1, precision, recall, class figures and counts;
            chosen on validation data, never here.
        seed: of the bootstrap.

    Raises:
        DatasetError: no case, a case id twice, grids that differ, or a match rule that needs sizes where only
            centre points were given.
    """
    _check(classes, threshold)
    matches = match_cases(cases, config.match)
    table = cases_table(matches, threshold)
    objects = objects_with_overlaps(matches, config, classes)
    measured = Measured.of(table, objects, threshold, classes)
    strata = Strata.of(table, objects, config.strata, threshold, config.size_limits)
    weights = patient_weights(patients_of(table), config.bootstrap_rounds, seed)
    return Evaluation(
        version=version,
        test_set=digest_of(matches),
        primary=config.primary,
        threshold=threshold,
        counts=_counts(table),
        metrics=_estimates(measured, table, objects, config, seed),
        curves=curves_of(measured),
        cases=table,
        objects=objects,
        confusion=confusion(objects, threshold) if len(classes) > 1 else None,
        match_rule=config.match.model_dump(),
        confidence=config.confidence,
        strata=strata.estimates(weights, config.confidence),
        strata_counts=strata.counts(),
        size_limits=strata.size_limits,
        size_unit=strata.size_unit,
    )


def primary_value(cases: Sequence[ScoredCase], config: EvaluationConfig, threshold: float | None = None) -> float:
    """The primary metric without an interval, for validation while training; higher is better.

    f1 holds at ``threshold``, or at the best threshold where it is ``None``; the other metrics need none. NaN where
    the metric does not exist (no case has an object).

    Raises:
        DatasetError: as `evaluate`.
    """
    matches = match_cases(cases, config.match)
    ranking = Ranking.of_matches(matches)
    if config.primary != "f1":
        return float(ranked_figures(ranking, ranking.once, (config.primary,))[config.primary][0])
    if threshold is not None:
        table = cases_table(matches, threshold)
        return float(f1(*table[["hits", "false_positives", "objects"]].sum().to_numpy()))
    if ranking.objects.sum() == 0:
        return float("nan")
    return float(_f1(ranking).max(initial=0.0))


def choose_threshold(cases: Sequence[ScoredCase], config: EvaluationConfig) -> float:
    """The score at which F1 is highest; of equals, the highest score.

    Where no detection finds an object every threshold gives F1 = 0, and the one that reports nothing is chosen
    (`REPORT_NOTHING`, 1.0).

    Raises:
        DatasetError: as `evaluate`, or no case has an object.
    """
    ranking = Ranking.of_matches(match_cases(cases, config.match))
    if ranking.objects.sum() == 0:
        raise DatasetError(
            f"a threshold needs at least one annotated object, and {len(cases)} cases have none: "
            "check the validation split and data.classes"
        )
    scores = _f1(ranking)
    return float(ranking.step_score[np.argmax(scores)]) if len(scores) else REPORT_NOTHING


def digest_of(matches: Sequence[CaseMatches]) -> str:
    """16 hex digits that name a test set: case ids and annotations (boxes to a millionth of a voxel), in any order."""
    digest = hashlib.sha256()
    for match in matches:
        annotations = match.case.annotations
        boxes = np.hstack([annotations.boxes.lower, annotations.boxes.upper]).round(6) + 0.0  # no minus zero
        rows = zip(boxes.tolist(), map(str, annotations.labels), annotations.ignore.tolist(), strict=True)
        digest.update(repr((match.case.case_id, annotations.from_points, sorted(rows))).encode())
        if (masks := match.case.annotation_masks) is not None:
            digest.update(masks.digest(np.lexsort((masks.first_voxels, *boxes.T))))
    return digest.hexdigest()[:16]


def _check(classes: tuple[str, ...], threshold: float) -> None:
    if "weighted" in classes:
        raise DatasetError("a class must not be called 'weighted': class_f1_weighted is the mean over classes")
    if not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite score, got {threshold}")


def _estimates(
    measured: Measured, cases: pd.DataFrame, objects: pd.DataFrame, config: EvaluationConfig, seed: int
) -> dict[str, Estimate]:
    patients, values = patients_of(cases), measured.values()
    rounds = measured.figures(patient_weights(patients, config.bootstrap_rounds, seed))
    bearing = patients_bearing(values, cases, objects, patients)
    return {name: interval(value, rounds[name], config.confidence, bearing[name]) for name, value in values.items()}


def _counts(table: pd.DataFrame) -> dict[str, int]:
    summed = ("objects", "ignored_objects", "unlabelled_objects", "hits", "false_positives", "misses", "all_detections")
    return {
        "patients": int(table["patient_key"].nunique()),
        "cases": len(table),
        "cases_without_objects": int((table["objects"] == 0).sum()),
        **{name: int(table[name].sum()) for name in summed},
    }


def _f1(ranking: Ranking) -> np.ndarray:
    return f1(ranking.step_hits, ranking.step_false, ranking.objects.sum())
