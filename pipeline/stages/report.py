"""What is known of model versions → one HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.errors import CellscanError, ConfigError, DatasetError, TrackingError
from pipeline.evaluation import Comparison, Evaluation
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.progress import Progress
from pipeline.reporting.gallery import CasePicture, gallery
from pipeline.reporting.report import IngestReport, Page, ReportData, TaskReport
from pipeline.reporting.report import write_report as write_html
from pipeline.reporting.viewed import CaseViews, case_views
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.stages.compare import compare_versions
from pipeline.stages.experiment import data_of, named_source
from pipeline.stages.pictures import seen_by_network
from pipeline.stages.scoring import own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.champions import REASON_TAG
from pipeline.tracking.provenance import code_tags
from pipeline.tracking.session import address
from pipeline.types import Image

# What the image viewers of all tasks together may take of the report's size limit.
VIEWER_BYTES = 5_500_000


def write_report(
    target: str | Sequence[str],
    settings: Settings,
    out: Path | None = None,
    progress: Progress | None = None,
    pages: Sequence[Page] = (),
) -> Path:
    """Write the report on a version, on two compared, or on several tasks.

    Args:
        target: ``name/3``, ``name@champion`` or ``name/2..name/3``; several for a report of several tasks. A single
            version is shown among all versions of its name and compared with the champion, or, if it is the
            champion, with the version before it.
        settings: where things are.
        out: the file; by default in the home folder, named for the targets.
        progress: called while pictures are made.
        pages: where more is to be seen, besides MLflow.

    Raises:
        ModelError: there is no such version.
    """
    targets = [target] if isinstance(target, str) else list(target)
    if not targets:
        raise ConfigError("a report needs at least one version, got none")
    tasks, notes = [], []
    for one in targets:
        task, said = _task(one, settings, progress, VIEWER_BYTES // len(targets))
        tasks.append(task)
        notes.extend(said)
    path = out or settings.reports / f"{'-'.join(_as_name(one) for one in targets)}.html"
    mlflow = address(settings)
    link = Page("MLflow", address=mlflow) if mlflow.startswith("http") else Page("MLflow", how=mlflow)
    data = ReportData(
        title=", ".join(task.name for task in tasks),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        tasks=tuple(tasks),
        ingest=_ingest([task.config for task in tasks if task.config is not None], settings),
        pages=(link, *pages),
        provenance={
            name.removeprefix("cellscan."): value for name, value in code_tags().items() if "mlflow" not in name
        },
        notes=tuple(notes),
    )
    return write_html(path, data)


def _task(
    target: str, settings: Settings, progress: Progress | None, viewer_bytes: int
) -> tuple[TaskReport, list[str]]:
    a, separator, b = target.partition("..")
    record = registry.resolve(settings, b if separator else a)
    other = a if separator else _counterpart(record, settings)
    comparisons, notes = _comparisons(other, record, settings, progress, needed=bool(separator))
    champion = registry.champion(settings, record.name)
    bundle = Bundle.load(record.bundle_folder)
    evaluations = _evaluations(record, registry.resolve(settings, a) if separator else None, settings)
    test: tuple[Case, ...] = ()
    try:
        test = data_of(record, bundle.config, settings).split.test
    except (DatasetError, TrackingError) as error:
        notes.append(f"No pictures of {record.spec}: {error}")
    pictures, views = _pictures(bundle, test, settings, progress, viewer_bytes)
    task = TaskReport(
        name=record.name,
        evaluations=tuple(evaluations),
        comparisons=tuple(comparisons),
        champion=None if champion is None else f"{record.name}/{champion}",
        config=bundle.config,
        pictures=pictures,
        views=views,
        pictured_version=record.spec,
        feature_maps=seen_by_network(bundle, test[0]) if test else None,
        facts=_facts(record, bundle),
    )
    return task, notes


def _counterpart(record: registry.VersionRecord, settings: Settings) -> str | None:
    """Whom a single version is compared with: the champion, or the version before the champion."""
    champion = registry.champion(settings, record.name)
    if champion is not None and champion != record.version:
        return f"{record.name}/{champion}"
    earlier = [n for n in registry.versions(settings, record.name) if int(n) < int(record.version)]
    return f"{record.name}/{earlier[-1]}" if earlier else None


def _comparisons(
    other: str | None, record: registry.VersionRecord, settings: Settings, progress: Progress | None, needed: bool
) -> tuple[list[Comparison], list[str]]:
    if other is None:
        return [], []
    try:
        return [compare_versions(other, record.spec, settings, progress)], []
    except CellscanError as error:
        if needed:
            raise
        return [], [f"{record.spec} is not compared with {other}: {error}"]


def _evaluations(
    record: registry.VersionRecord, other: registry.VersionRecord | None, settings: Settings
) -> list[Evaluation]:
    """Of every version of the name, oldest first, and of the one that it was compared with."""
    shown = [registry.resolve(settings, f"{record.name}/{n}") for n in registry.versions(settings, record.name)]
    if other is not None and other.spec not in {one.spec for one in shown}:
        shown.insert(0, other)
    return [own_evaluation(one, settings) for one in shown]


def _pictures(
    bundle: Bundle, cases: Sequence[Case], settings: Settings, progress: Progress | None, viewer_bytes: int
) -> tuple[tuple[CasePicture, ...], CaseViews]:
    """The gallery and what the viewer holds, from one pass over the cases."""
    scored = score_cases(VolumeDetector(bundle, settings.device), cases, progress)
    by_id = {case.case_id: case for case in cases}
    match, intensity = bundle.config.evaluation.match, bundle.config.preprocessing.intensity

    def read(case_id: str) -> Image:
        return by_id[case_id].array

    pictures = gallery(scored, read, match, bundle.threshold, intensity=intensity)
    views = case_views(scored, read, match, bundle.threshold, intensity=intensity, limit=viewer_bytes)
    return pictures, views


def _facts(record: registry.VersionRecord, bundle: Bundle) -> dict[str, str]:
    facts = {
        "Patients that shaped it": str(len(bundle.seen.patients)),
        "Weights": f"digest {record.tags[registry.DIGEST_TAG][:16]}",
        "MLflow run": record.run_id,
    }
    reason = record.tags.get(REASON_TAG)
    return facts | ({"Promotion": reason} if reason else {})


def _ingest(configs: Sequence[ExperimentConfig], settings: Settings) -> IngestReport | None:
    roots = dict.fromkeys(named_source(config, settings) for config in configs)
    catalog = Catalog.of(settings)
    try:
        files = [file for root in roots for file in catalog.files(root)]
        volumes = len({volume.volume_id for root in roots for volume in catalog.volumes(root)})
    finally:
        catalog.close()
    return IngestReport.of(files, volumes) if files else None


def _as_name(target: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in target)
