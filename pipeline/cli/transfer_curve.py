"""``cellscan transfer-curve``: what transfer saves in data and steps."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Experiment, Home, Overrides, Verbose
from pipeline.cli.screen import Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.stages.transfer_curve import TransferCurve


def transfer_curve(
    experiment: Experiment,
    overrides: Overrides = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="VERSION",
            help="What to transfer from, as training.initial_weights: name/3, name@champion, starter/name.",
            show_default="the experiment's initial weights, or ImageNet",
        ),
    ] = None,
    shares: Annotated[
        str, typer.Option("--shares", metavar="0.1,1", help="Shares of the training patients, 1 among them.")
    ] = "0.05,0.1,0.25,0.5,1",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many trainings each, from the next seeds.")] = 3,
    steps_by_data: Annotated[
        bool, typer.Option("--steps-by-data", help="Fewer data, fewer steps; without it all trainings have the same.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Train from scratch and transferred on several shares of the data, and draw both curves with intervals.

    Says at which share of the data and of the steps the transferred detector is as good as the one from scratch with
    everything. Every training is a version below one run in MLflow, which holds the picture. Stopped, it continues
    when the same command is given again; finished trainings are not repeated.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.numbers import parse_shares
        from pipeline.config import load_experiment
        from pipeline.stages.transfer_curve import transfer_curve as stage

        config = load_experiment(experiment, overrides or ())
        settings = Settings.from_environment()
        found = stage(config, settings, source, parse_shares(shares), seeds, steps_by_data, screen.progress)
        screen.say(*curve_lines(found))
        screen.give(found)


def curve_lines(found: "TransferCurve") -> list[str]:
    """A table with a line a share, and what the transferred detector needs."""
    curve = found.curve
    cells: list[tuple[str, ...]] = [("share", "patients", "cases", "objects", "from scratch", "transferred", "gain")]
    for place, (share, size) in enumerate(zip(curve.shares, found.sizes, strict=True)):
        counts = (f"{size[name]:.0f}" for name in ("patients", "cases", "objects"))
        figures = (str(points[place].figure) for points in curve.curves.values())
        cells.append((f"{100 * share:.3g}%", *counts, *figures, str(curve.gains[place])))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    again = ": drawn before, nothing was done again" if found.reused else ""
    seeds = f"{len(curve.seeds)} seed{'' if len(curve.seeds) == 1 else 's'}"
    head = (
        f"{found.name} from scratch and transferred from {found.source}, {seeds}; {curve.primary} on "
        f"{curve.counts['cases']} test cases of {curve.counts['patients']} patients with "
        f"{curve.confidence:.0%} intervals by {curve.drawn}{again}"
    )
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells]
    return [
        head,
        *(f"  {line.rstrip()}" for line in lines),
        f"as good as from scratch with everything ({curve.reference}), transferred needs",
        f"  of the data   {curve.needed_data}",
        f"  of the steps  {curve.needed_steps} (on validation data)",
    ]
