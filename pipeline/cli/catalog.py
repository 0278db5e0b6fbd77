"""Commands on the catalog: what was ingested, what became of a file, and whether the volumes are whole."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import FAILED, PARTIAL, Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.sources.catalog import Catalog

Outcome = Annotated[
    Literal["ingested", "ignored", "quarantined"] | None,
    typer.Option("--outcome", help="Only what ended so; a volume by the worst of its files."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to show.")]
After = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="The next ones: the cursor that the page before gave.")
]
VolumeId = Annotated[str, typer.Argument(metavar="VOLUME", help="A volume's id, or a start of it that no other has.")]
Table = Literal["files", "volumes", "annotations"]

catalog = typer.Typer(
    help="Ask the catalog: list and show volumes, say what happened to a file, export, verify.", no_args_is_help=True
)


@catalog.command("list")
def list_(
    modality: Annotated[str | None, typer.Option(help="Only this modality: CT, MR, PT, SM, …")] = None,
    outcome: Outcome = None,
    annotated: Annotated[
        bool | None, typer.Option("--annotated/--not-annotated", help="Only what somebody annotated, or nobody.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Only what was read from this folder, file or archive file.")
    ] = None,
    study: Annotated[str | None, typer.Option(metavar="DIGEST", help="Only this study.")] = None,
    series: Annotated[str | None, typer.Option(metavar="DIGEST", help="Only this series.")] = None,
    patient: Annotated[str | None, typer.Option(metavar="KEY", help="Only this patient, by the keyed hash.")] = None,
    label: Annotated[str | None, typer.Option(help="Only with an annotated object of this label.")] = None,
    part: Annotated[str | None, typer.Option(metavar="TEXT", help="Only parts that hold this text.")] = None,
    limit: Limit = 50,
    after: After = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """List volumes, the latest first."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import volume_table
        from pipeline.sources.catalog.queries import VolumeFilter, list_volumes

        wanted = VolumeFilter(modality, outcome, annotated, archive, study, series, patient, label, part)
        with _opened() as opened:
            page = list_volumes(opened, wanted, limit=limit, after=after)
        if page.rows:
            screen.show(volume_table(page.rows))
        _say_how_to_go_on(screen, "volume", page.rows, page.after, whole=wanted == VolumeFilter())
        screen.give({"volumes": page.rows, "after": page.after})


@catalog.command("files")
def files(
    outcome: Outcome = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Only reasons that begin so.")] = None,
    under: Annotated[Path | None, typer.Option("--under", help="Only this folder, file or archive file.")] = None,
    contains: Annotated[str | None, typer.Option(metavar="TEXT", help="Only paths that hold this text.")] = None,
    limit: Limit = 50,
    after: After = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """List files by path, each with its outcome and the reason; by reason where one is asked for."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import file_table
        from pipeline.sources.catalog.queries import FileFilter, list_files

        wanted = FileFilter(outcome, reason, under, contains)
        with _opened() as opened:
            page = list_files(opened, wanted, limit=limit, after=after)
        if page.rows:
            screen.show(file_table(page.rows))
        _say_how_to_go_on(screen, "file", page.rows, page.after, whole=wanted == FileFilter())
        screen.give({"files": page.rows, "after": page.after})


@catalog.command("file")
def file(
    path: Annotated[Path, typer.Argument(help="A file, a member of an archive file (a.zip/b.dcm), or a folder.")],
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Say what happened to a file: its outcome and the reason, what it became, who annotates that.

    Exits with 1 when the catalog never met it.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import file_lines
        from pipeline.sources.catalog.records import readable
        from pipeline.sources.catalog.stories import file_story

        with _opened() as opened:
            story = file_story(opened, path)
        if story is None:
            there = path.expanduser().exists()
            advice = f"`cellscan ingest {readable(str(path))}` reads it" if there else "and nothing is there"
            screen.say(f"{readable(str(path))} was never ingested, {advice}")
            screen.give({"path": str(path), "known": False, "exists": there})
            raise typer.Exit(FAILED)
        screen.say(*file_lines(story))
        screen.give(story)


@catalog.command("show")
def show(
    volume: VolumeId,
    picture: Annotated[
        Path | None, typer.Option("--thumbnail", metavar="OUT.png", help="Write a picture with its annotations.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Show all that is known of one volume."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import volume_lines
        from pipeline.sources.catalog.stories import find_volume, volume_story

        with _opened() as opened:
            story = volume_story(opened, find_volume(opened, volume))
            (stored,) = opened.volumes(ids=[story.volume.volume_id])
        screen.say(*volume_lines(story, stored.name))
        if picture is not None:
            from pipeline.stages.catalog import thumbnail

            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(thumbnail(stored))
            screen.say(f"  thumbnail: {picture}")
        screen.give(story)


@catalog.command("export")
def export(
    out: Annotated[
        Path, typer.Argument(help="A folder for files.parquet, volumes.parquet, annotations.parquet; or one file.")
    ],
    table: Annotated[Table | None, typer.Option("--table", help="Only this table, as the file OUT.")] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Write the catalog as Parquet. Paths may name patients: keep what is written where the archive may be."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.sources.catalog.export import EXPORTS, export_table

        places: dict[str, Path] = {table: out} if table else {name: out / f"{name}.parquet" for name in EXPORTS}
        with _opened() as opened:
            rows = {name: export_table(opened, name, place, screen.progress) for name, place in places.items()}
        screen.say(*(f"{places[name]}: {count} rows" for name, count in rows.items()))
        screen.give({"rows": rows, "written": places})


@catalog.command("verify")
def verify(
    archive: Annotated[
        Path | None, typer.Option("--archive", help="Only volumes read from this folder, file or archive file.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Check the stored voxels of every volume against their checksums.

    What is damaged is built anew by the next ingest of its archive. Exits with 3 when a volume is damaged or missing.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import verification_lines
        from pipeline.stages.catalog import verify_volumes

        found = verify_volumes(Settings.from_environment(), archive, screen.progress)
        screen.say(*verification_lines(found))
        screen.give(found)
        if found.damaged or found.missing:
            raise typer.Exit(PARTIAL)


@catalog.command("summary")
def summary(as_json: AsJson = False, home: Home = None, verbose: Verbose = False) -> None:
    """Count files by outcome, volumes by modality, patients, annotated volumes and objects; name the archives."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.listing import overview_lines
        from pipeline.sources.catalog.stories import overview

        with _opened() as opened:
            found = overview(opened)
        screen.say(*overview_lines(found))
        screen.give(found)


@contextmanager
def _opened() -> "Iterator[Catalog]":
    from pipeline.sources.catalog import Catalog

    opened = Catalog.of(Settings.from_environment())
    try:
        yield opened
    finally:
        opened.close()


def _say_how_to_go_on(screen: Screen, thing: str, rows: Sized, after: str | None, *, whole: bool) -> None:
    if not len(rows):
        screen.say("the catalog is empty: `cellscan ingest FOLDER` fills it" if whole else f"no {thing} fits")
    elif after is not None:
        screen.say(f"there are more: add --after {after}")
