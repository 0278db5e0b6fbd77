"""Write an experiment for a folder of annotated scans."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.planning import Plan


def plan(
    folder: Annotated[Path, typer.Argument(help="Annotated scans: a folder, or one below the data folder.")],
    name: Annotated[
        str | None, typer.Option(help="Of the experiment and its model.", show_default="the folder's name")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write.", show_default="configs/experiments/NAME.yaml")
    ] = None,
    dims: Annotated[int | None, typer.Option(min=2, max=3, help="Only scans of so many dimensions.")] = None,
    modality: Annotated[
        list[str] | None, typer.Option("--modality", help="Only scans of this DICOM modality; may be given again.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only scans with this attribute, e.g. stain=he."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.5, help="How long training may take on this device.")] = 25.0,
    point_box: Annotated[
        float | None,
        typer.Option(
            "--point-box",
            min=1e-6,
            help="Edge of an object where only points are annotated.",
            show_default="from the distances between neighbours",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time training steps on this device instead of modelling them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that says something else.")] = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Measure a folder of annotated scans and write an experiment that suits them, each choice with its reason.

    Test scans stay out of what is measured. Train it with cellscan train; the file is yours to edit.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.planning.kinds import Asked
        from pipeline.planning.writing import fingerprint_lines
        from pipeline.stages.plan import PlanRequest, plan_experiment

        asked = Asked(dims, tuple(modality or ()), _attributes(where))
        request = PlanRequest(folder, name, out, asked, minutes, point_box, force, measure)
        planned = plan_experiment(request, Settings.from_environment(), screen.progress)
        screen.say(*fingerprint_lines(planned.plan))
        screen.show(choice_table(planned.plan))
        verb = "was there already" if planned.unchanged else "written"
        screen.say(f"{planned.path} {verb}; histograms: {planned.picture}", f"next: cellscan train {planned.path}")
        screen.give(planned)


def choice_table(plan: "Plan") -> "Table":
    """Key, value and reason of each choice."""
    from rich.table import Table

    from pipeline.planning.writing import value_text

    table = Table("choice", "value", "because", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    for one in plan.choices:
        table.add_row(one.key, value_text(one.value), one.reason)
    return table


def _attributes(where: list[str] | None) -> dict[str, str]:
    pairs = [one.partition("=") for one in where or []]
    wrong = [f"{key}{sign}{value}" for key, sign, value in pairs if not (key and sign and value)]
    if wrong:
        raise typer.BadParameter(f"--where takes KEY=VALUE, e.g. stain=he, got {wrong[0]!r}")
    return {key: value for key, _, value in pairs}
