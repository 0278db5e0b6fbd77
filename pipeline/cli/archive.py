"""Commands on archives of scans: make a sample, ingest, detect."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Home, Strict, Verbose, Version
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings

Archive = Annotated[Path, typer.Argument(help="A folder of scans, or one file: DICOM, NIfTI, PNG, JPEG, TIFF.")]


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write the archive; made if it is not there.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write a generated archive of scans with annotations, to try everything on.

    CT series as DICOM, MR volumes as NIfTI, H&E and fluorescence fields as PNG and DICOM; scans with no finding,
    two broken files and a series with a missing slice are among them. No patient stands behind any of it.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import sample_line
        from pipeline.sample.archive import write_sample

        summary = write_sample(folder, seed=seed, progress=screen.progress)
        screen.say(sample_line(summary))
        screen.give(summary)


def ingest(
    path: Archive,
    strict: Strict = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Take scans and their annotations into the catalog; say of every file what became of it.

    A file is ingested, ignored (no scan), or quarantined (a scan that cannot be trusted) with the reason. Files
    that did not change since the last time are not read again. Quarantined files do not fail the command
    unless --strict is given: then it exits with 3.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import ingest_lines
        from pipeline.stages.ingest import ingest_archive

        summary = ingest_archive(path, Settings.from_environment(), screen.progress)
        screen.say(*ingest_lines(summary))
        screen.give(summary)
        if strict and summary.counts().get("quarantined", 0):
            raise typer.Exit(PARTIAL)


def detect(
    version: Version,
    path: Archive,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables, GeoJSON files and overlays.")],
    strict: Strict = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Find cells or lesions in every scan of an archive with a registered model version.

    Writes detections.csv, detections.parquet, geojson/, overlays/ and summary.json. Scans that this version
    has done before are not done again, so that a command that was stopped continues. Exits with 3 when scans are left
    that a later run may do (another worker is on them, memory ran out); with --strict also when files are quarantined.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import detect_lines
        from pipeline.stages.detect import detect_archive

        summary = detect_archive(version, path, out, Settings.from_environment(), screen.progress)
        screen.say(*detect_lines(summary))
        screen.give(summary)
        if summary.unfinished or (strict and summary.quarantined):
            raise typer.Exit(PARTIAL)
