"""Scans without their patients."""

from pathlib import Path

from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.run import DeidentifySummary, deidentify


def deidentify_archive(
    path: Path,
    out: Path,
    options: DeidentifyOptions,
    settings: Settings,
    progress: Progress | None = None,
    prune: bool = False,
) -> DeidentifySummary:
    """Write the DICOM and NIfTI files of a folder, or one file, to ``out`` without their patients.

    With ``prune`` outputs go whose sources are gone.

    Raises:
        SourceError: there is nothing at ``path``, or ``out`` cannot take it.
    """
    return deidentify(path, out, options, settings, progress, prune)
