"""Why a version finds what it finds, on its own test cases: made once, and kept with the version."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.errors import TrackingError
from pipeline.explanation.translation import translation_report
from pipeline.explanation.version import explain_cases
from pipeline.progress import Progress
from pipeline.reporting.explained import ExplainedPicture, translation_picture
from pipeline.reporting.explanation import explanation_pictures
from pipeline.reporting.translation import translation_png
from pipeline.settings import Settings
from pipeline.stages.experiment import case_rows, cases_digest
from pipeline.stages.pictures import features_png, known
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.registry import VersionRecord
from pipeline.tracking.run import TrackedRun, run_folder, tracked_run

FOLDER, FACTS, SHIFTED = "explanation", "explanation.json", "shifted.json"
_WORDS = ("title", "alternative", "shows", "not_shown", "checked")


def explained(
    record: VersionRecord, bundle: Bundle, cases: Sequence[Case], settings: Settings, progress: Progress | None = None
) -> tuple[ExplainedPicture, ...]:
    """The pictures that explain a version: that of the translation test, which its training kept, and those that are
    made when they are first asked for, and kept in a run of their own.

    Args:
        record: the version.
        bundle: its network.
        cases: its test cases, which are examined where nothing was kept; without any there is nothing to examine.
        settings: where things are.
        progress: called while they are made.
    """
    shifted = _kept(settings, record.run_id, SHIFTED)
    if not cases:
        return shifted
    key = hashlib.sha256(f"explain|{record.spec}|{record.run_id}|{cases_digest(cases)}".encode()).hexdigest()[:16]
    tags = {"cellscan.kind": "explain", "cellscan.model": record.spec, "cellscan.dataset_digest": cases_digest(cases)}
    with tracked_run(settings, record.name, key, tags, name=f"explain {record.spec}") as run:
        if not run.finished:
            run.link_figures(record.model_id, CaseTable(record.name, cases_digest(cases), "test", case_rows(cases)))
            if not shifted:  # a version of before
                log_translation(run, bundle, cases, settings, progress)
            _log_explanation(run, bundle, cases, settings, progress)
    return (*_kept(settings, run.run_id, FACTS), *(shifted or _kept(settings, run.run_id, SHIFTED)))


def log_translation(
    run: TrackedRun, bundle: Bundle, cases: Sequence[Case], settings: Settings, progress: Progress | None = None
) -> None:
    """The translation test of a version: figures as metrics, its picture and what it says below ``explanation``."""
    report = translation_report(bundle, cases, settings.device, progress)
    run.log_metrics(report.metrics())
    _keep(run, SHIFTED, {"translation": translation_picture(translation_png(report))}, report.to_json())


def _log_explanation(
    run: TrackedRun, bundle: Bundle, cases: Sequence[Case], settings: Settings, progress: Progress | None
) -> None:
    explanation = explain_cases(bundle, cases, settings.device, progress)
    run.log_metrics(explanation.metrics())
    pictures = explanation_pictures(explanation, bundle, features_png(explanation.seen))
    _keep(run, FACTS, pictures, explanation.to_json())


def _keep(run: TrackedRun, facts: str, pictures: Mapping[str, ExplainedPicture], told: Mapping[str, object]) -> None:
    for name, picture in pictures.items():
        run.log_image(f"{FOLDER}/{name}.png", picture.png)
    # Written last: where it is, all of it is there.
    words = {name: {word: getattr(picture, word) for word in _WORDS} for name, picture in pictures.items()}
    run.log_json(f"{FOLDER}/{facts}", {**{name: known(value) for name, value in told.items()}, "pictures": words})


def _kept(settings: Settings, run_id: str, facts: str) -> tuple[ExplainedPicture, ...]:
    try:
        folder = run_folder(settings, run_id, FOLDER)
    except TrackingError:  # nothing was kept
        return ()
    return _read(folder, facts) if (folder / facts).is_file() else ()


def _read(folder: Path, facts: str) -> tuple[ExplainedPicture, ...]:
    words = json.loads((folder / facts).read_text(encoding="utf-8"))["pictures"]
    return tuple(ExplainedPicture(png=(folder / f"{name}.png").read_bytes(), **said) for name, said in words.items())
