"""Scans into the catalog."""

from prefect import flow

from flows.artifacts import show_ingest
from flows.events import tell_arrival
from flows.parameters import Archive
from flows.retry import stage
from flows.surroundings import progress
from pipeline.settings import Settings


@stage("ingest")
def _ingest(archive: Archive) -> dict[str, int]:
    from pipeline.stages.ingest import ingest_archive

    settings = Settings.from_environment()
    summary = ingest_archive(archive, settings, progress())
    show_ingest(summary)
    tell_arrival(summary)
    return summary.counts()


@flow(name="ingest")
def ingest(archive: Archive) -> dict[str, int]:
    """Take an archive into the catalog; every file ends as ingested, ignored or quarantined, with a reason.

    Returns:
        Counts by outcome.
    """
    return _ingest(archive)
