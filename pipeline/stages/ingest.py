"""Scans into the catalog."""

from pathlib import Path

from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.ingest import IngestSummary, ingest


def ingest_archive(path: Path, settings: Settings, progress: Progress | None = None) -> IngestSummary:
    """Take a folder of scans, or one file, into the catalog; every file ends with an outcome and a reason.

    Raises:
        SourceError: there is nothing at ``path``.
    """
    return ingest(path, settings, progress)
