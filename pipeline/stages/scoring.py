"""One version on one set of cases: detected, scored, and kept as a tracked run, so that it is done once."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.config.evaluation import EvaluationConfig
from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError, ModelError, TrackingError
from pipeline.evaluation import Evaluation, evaluate
from pipeline.evaluation.decision import LEFT_OUT
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.progress import Progress
from pipeline.reporting.figures import save_figures
from pipeline.settings import Settings
from pipeline.stages.experiment import case_rows, cases_digest
from pipeline.stages.pictures import evaluation_pictures
from pipeline.starters.shelf import CARD
from pipeline.tracking.asking import may_pass
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.registry import VersionRecord
from pipeline.tracking.run import TrackedRun, keep_evaluation, run_folder, tracked_run

EVALUATION = "evaluation"


def own_evaluation(record: VersionRecord, settings: Settings) -> Evaluation:
    """What a version scored on its own test set when it was made.

    Raises:
        ModelError: a starter model, which brings no test set.
        TrackingError: as `kept_evaluation`.
    """
    if record.is_starter:
        raise ModelError(
            f"{record.spec} brings no test set of its own: cellscan evaluate {record.spec} --data FOLDER scores it on "
            f"annotated scans, and {record.bundle_folder / CARD} says how it did on its test set"
        )
    return kept_evaluation(record.run_id, record.spec, settings)


def kept_evaluation(run_id: str, spec: str, settings: Settings) -> Evaluation:
    """The evaluation that a run of a version holds.

    Raises:
        TrackingError: it is not there or damaged.
    """
    again = f"cellscan evaluate {spec} scores it again"
    try:
        return Evaluation.load(run_folder(settings, run_id, EVALUATION))
    except TrackingError as error:
        raise TrackingError(f"the evaluation of {spec} cannot be had: {error}; {again}") from (error.__cause__ or error)
    # Any byte of three files may have changed.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        told = f"the evaluation of {spec} in run {run_id} is damaged ({type(error).__name__})"
        raise TrackingError(f"{told}; {again}") from error


def score_version(
    record: VersionRecord,
    bundle: Bundle,
    cases: Sequence[Case],
    config: EvaluationConfig,
    settings: Settings,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a version on cases, those of patients that shaped it left out and counted.

    Raises:
        DatasetError: every case belongs to a patient that shaped the version.
    """
    fair = [case for case in cases if not bundle.seen.holds(case)]
    if not fair:
        raise DatasetError(
            f"{record.spec} was trained on the patients of all {len(cases)} cases; a score on them would say nothing"
        )
    digest = cases_digest(fair, masks=config.match.kind == "mask_overlap")
    key = _key(record, digest, config)
    tags = {"cellscan.kind": "evaluate", "cellscan.model": record.spec, "cellscan.dataset_digest": digest}
    with tracked_run(settings, record.name, key, tags, name=f"evaluate {record.spec}") as run:
        if run.finished:
            try:
                return kept_evaluation(run.run_id, record.spec, settings)
            except TrackingError as error:
                if may_pass(error):
                    raise
        scored = score_cases(VolumeDetector(bundle, settings.device), fair, progress)
        evaluation = evaluate(scored, config, bundle.classes, record.spec, bundle.threshold, bundle.config.seed)
        evaluation = replace(evaluation, counts={**evaluation.counts, LEFT_OUT: len(cases) - len(fair)})
        if run.finished:  # what it held was damaged
            keep_evaluation(settings, run.run_id, evaluation)
            return evaluation
        run.link_figures(record.model_id, CaseTable(record.name, evaluation.test_set, "test", case_rows(fair)))
        log_evaluation(run, evaluation)
    return evaluation


def log_evaluation(run: TrackedRun, evaluation: Evaluation) -> None:
    """Figures as numbers, as tables and as pictures."""
    run.log_evaluation(evaluation)
    if evaluation.strata:
        run.log_table("tables/strata.json", evaluation.strata_rows())
    if evaluation.confusion is not None:
        run.log_table("tables/confusion.json", evaluation.confusion.rename_axis("annotated as").reset_index())
    for name, png in evaluation_pictures(evaluation).items():
        run.log_image(f"figures/{name}.png", png)
    with tempfile.TemporaryDirectory() as folder:
        run.log_figures(save_figures(evaluation, Path(folder)))


def _key(record: VersionRecord, data: str, config: EvaluationConfig) -> str:
    parts = ["evaluate", record.spec, record.run_id, data, config.model_dump_json()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
