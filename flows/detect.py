"""One version on an archive of scans."""

from pathlib import Path

from prefect import flow

from flows.artifacts import show_detections
from flows.parameters import Archive, Version
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.settings import Settings


@tracked_stage("detect")
def _detect(version: Version, archive: Archive, out: Path) -> Path:
    from pipeline.stages.detect import detect_archive

    summary = detect_archive(version, archive, out, Settings.from_environment(), progress())
    show_detections(summary)
    return out


@flow(name="detect")
def detect(version: Version, archive: Archive, out: Path) -> Path:
    """Detect on every scan that this version has not done yet, and write tables, GeoJSON and overlays.

    Returns:
        The folder with the results.
    """
    return _detect(version, archive, out)
