"""Commands on archives of scans: make a sample, ingest, detect."""

import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.options import AsJson, Compile, Home, Strict, Verbose, Version, Workers
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings

Archive = Annotated[
    str,
    typer.Argument(help="A folder, a file (a scan, or a zip or tar of scans), or https://… of a DICOMweb server."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Of a server, only these studies: ModalitiesInStudy=CT, StudyDate=20260101-"),
]

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Write this, too (repeatable): coco, slicer, dicom-sr, dicom-sr-slices, dicom-seg, dicom-ann.",
    ),
]

Retry = Annotated[
    Literal["quarantined"] | None,
    typer.Option("--retry", help="Detect on nothing but what failed before: scans that were quarantined."),
]


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
    archive: Archive,
    where: Where = None,
    deidentify: Annotated[
        bool,
        typer.Option("--deidentify", help="Ingest a copy without its patients, by cellscan deidentify."),
    ] = False,
    strict: Strict = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Take scans and their annotations into the catalog; say of every file what became of it.

    CELLSCAN_GANTRY_TILT=shear in the environment straightens series of a tilted gantry, which are refused else.
    CELLSCAN_DICOMWEB_USER and _PASSWORD, or _TOKEN, let a server know who asks.

    A file is ingested, ignored (no scan), or quarantined (a scan that cannot be trusted) with the reason. Files
    that did not change since the last time are not read again. Quarantined files do not fail the command
    unless --strict is given: then it exits with 3. Instances of a server that could not be fetched make it exit
    with 3 always; the same command fetches what is missing.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import ingest_lines
        from pipeline.sources.deidentification.options import DeidentifyOptions
        from pipeline.stages.ingest import ingest_archive

        options = DeidentifyOptions() if deidentify else None
        summary = ingest_archive(archive, Settings.from_environment(), screen.progress, conditions(where), options)
        screen.say(*ingest_lines(summary))
        screen.give(summary)
        if summary.unfetched or (strict and summary.counts().get("quarantined", 0)):
            raise typer.Exit(PARTIAL)


def detect(
    version: Version,
    archive: Archive,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables, GeoJSON files and overlays.")],
    formats: Formats = None,
    workers: Workers = None,
    compile_network: Compile = False,
    retry: Retry = None,
    strict: Strict = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Find cells or lesions in every scan of an archive with a registered model version.

    DICOM objects go into the scan's own study, so they hold what its header says of the patient; they are written
    only where --format asks for them, and cellscan send stores them on a server.

    Writes detections.csv, detections.parquet, geojson/, overlays/ and summary.json. Scans that this version
    has done before are not done again, so that a command that was stopped continues. Exits with 3 when scans are left
    that a later run may do (memory ran out); with --strict also when files are quarantined.

    Commands that are given the same version at once, on this machine or (with a catalog in PostgreSQL, and one home
    folder) on several, share the work. CELLSCAN_RUNNER names a Dask or Ray cluster that does it instead.
    """
    # Stopped by a supervisor it gives back what it had claimed, as by Ctrl-C; killed, it would look like a failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import detect_lines
        from pipeline.stages.detect import detect_archive

        settings, elsewhere = Settings.from_environment(), None
        if settings.runner.kind != "processes":
            from pipeline.cli.flow import by_runner

            elsewhere = by_runner(settings, screen, verbose)
        failed, more = retry is not None, formats or ()
        summary = detect_archive(version, archive, out, settings, screen.progress, more, failed, elsewhere)
        screen.say(*detect_lines(summary))
        screen.give(summary)
        if summary.unfinished or (strict and summary.quarantined):
            raise typer.Exit(PARTIAL)


def conditions(where: list[str] | None) -> dict[str, str]:
    """``KEY=VALUE`` pairs of the command line."""
    pairs = [one.partition("=") for one in where or []]
    wrong = [key for key, sign, value in pairs if not (key.isalnum() and sign and value)]
    if wrong:
        raise typer.BadParameter(f"--where takes KEY=VALUE with a DICOM keyword, got {wrong[0]!r}")
    return {key: value for key, _, value in pairs}
