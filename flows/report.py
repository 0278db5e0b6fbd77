"""What is known of versions → one HTML file."""

from pathlib import Path

from prefect import flow

from flows.artifacts import show_report
from flows.parameters import Target
from flows.retry import tracked_stage
from flows.session import pages
from flows.surroundings import progress
from pipeline.settings import Settings


@tracked_stage("report")
def _report(targets: list[Target], out: Path | None) -> Path:
    from pipeline.reporting.report import Page
    from pipeline.stages.report import write_report

    settings = Settings.from_environment()
    prefect = pages(settings)
    page = Page("Prefect", address=prefect) if prefect.startswith("http") else Page("Prefect", how=prefect)
    path = write_report(targets, settings, out, progress(), [page])
    show_report(path)
    return path


@flow(name="report")
def report(targets: list[Target], out: Path | None = None) -> Path:
    """One HTML file on versions, or pairs of them.

    Returns:
        The file.
    """
    return _report(targets, out)
