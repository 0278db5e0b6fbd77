"""The commands, in the order in which a user meets them."""

from typing import Annotated

import typer

from pipeline.cli import archive, models, whole
from pipeline.cli.better import better
from pipeline.cli.catalog import catalog
from pipeline.cli.deidentify import deidentify
from pipeline.cli.demo import demo
from pipeline.cli.ensemble import ensemble
from pipeline.cli.explain import explain
from pipeline.cli.listen import listen
from pipeline.cli.plan import plan
from pipeline.cli.send import send
from pipeline.cli.starters import starters
from pipeline.cli.transfer_curve import transfer_curve
from pipeline.cli.watch import watch

_EXIT_CODES = "Exit codes: 0 done, 1 failed (the reason is shown), 2 wrong use, 3 where a command's --help says so."

app = typer.Typer(
    help="Find cancer cells and lesions in scan archives: ingest, train, evaluate, compare, detect.",
    epilog=_EXIT_CODES,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    # Their frames print local variables, which may hold what a scan's header says of a patient.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cellscan {version('cellscan')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


_START, _SCANS, _MODELS = "Start here", "Scans", "Model versions"
app.command(rich_help_panel=_START)(demo)
app.command(rich_help_panel=_START)(whole.doctor)
app.command(rich_help_panel=_START)(whole.run)
app.command(rich_help_panel=_SCANS)(archive.sample)
app.command(rich_help_panel=_SCANS)(archive.ingest)
app.command(rich_help_panel=_SCANS)(listen)
app.command(rich_help_panel=_SCANS)(deidentify)
app.add_typer(catalog, name="catalog", rich_help_panel=_SCANS)
app.command(rich_help_panel=_SCANS)(archive.detect)
app.command(rich_help_panel=_SCANS)(watch)
app.command(rich_help_panel=_SCANS)(send)
app.command(rich_help_panel=_MODELS)(starters)
app.command(rich_help_panel=_MODELS)(plan)
app.command(rich_help_panel=_MODELS)(models.train)
app.command(rich_help_panel=_MODELS)(transfer_curve)
app.command(rich_help_panel=_MODELS)(ensemble)
app.command(rich_help_panel=_MODELS)(models.evaluate)
app.command(rich_help_panel=_MODELS)(models.compare)
app.command(rich_help_panel=_MODELS)(better)
app.command(rich_help_panel=_MODELS)(models.promote)
app.command(rich_help_panel=_MODELS)(models.rollback)
app.command(rich_help_panel=_MODELS)(models.report)
app.command(rich_help_panel=_MODELS)(explain)
