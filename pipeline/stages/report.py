"""What is known of model versions → one HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.reporting.records import IngestReport, Page, Promotion, ReportData, TaskReport
from pipeline.reporting.report import write_report as write_html
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.stages.ensemble import MEMBERS_TAG
from pipeline.stages.experiment import named_source
from pipeline.stages.report_pictures import shown_cases
from pipeline.stages.report_subject import subject_of
from pipeline.tracking import registry
from pipeline.tracking.champions import champions
from pipeline.tracking.provenance import code_tags
from pipeline.tracking.session import address

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
        target: ``name/3``, ``name@champion``, ``name/2..name/3`` or the id of a run; several for a report of several
            tasks. A single version is shown among all versions of its name and compared with the champion, or, if it
            is the champion, with the version before it.
        settings: where things are.
        out: the file; by default in the home folder, named for the targets.
        progress: called while pictures are made.
        pages: where more is to be seen, besides MLflow.

    Raises:
        ModelError: there is no such version or run.
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
    subject = subject_of(target, settings, progress)
    record = subject.record
    shown = shown_cases(subject, settings, viewer_bytes, progress)
    history = champions(settings, record.name)
    task = TaskReport(
        name=record.name,
        evaluations=subject.evaluations,
        comparisons=subject.comparisons,
        champion=None if history.current is None else f"{record.name}/{history.current}",
        config=subject.bundle.config,
        pictures=shown.gallery,
        views=shown.views,
        pictured_version=record.spec,
        explained=shown.explained,
        facts=_facts(record, subject.bundle),
        history=tuple(Promotion(one.at, one.action, one.version, one.previous, one.reason) for one in history.changes),
    )
    return task, subject.notes


def _facts(record: registry.VersionRecord, bundle: Bundle) -> dict[str, str]:
    members = record.tags.get(MEMBERS_TAG)
    return {
        "Patients that shaped it": str(len(bundle.seen.patients)),
        "Weights": f"digest {record.tags[registry.DIGEST_TAG][:16]}",
        "MLflow run": record.run_id,
        **({"Ensemble": f"the mean of {members}; the rows above are of the first"} if members else {}),
    }


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
