"""Which runs have a higher figure than the champion?"""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.tracking.search import Better, BetterRun


def better(
    name: Annotated[str, typer.Argument(help="The registered model, e.g. lesions.")],
    metric: Annotated[
        str, typer.Option("--metric", help="A figure as MLflow has it, e.g. f1 or strata.size.small.recall.")
    ] = "f1",
    days: Annotated[float, typer.Option("--days", min=0, help="How far back.")] = 30,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """List the runs of the last days whose figure is above the champion's, on the champion's test set.

    A higher figure is not yet a difference that was shown: compare says whether it is.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.tracking.search import better_than_champion

        found = better_than_champion(Settings.from_environment(), name, metric, days)
        screen.say(*better_lines(found, days))
        screen.give(found)


def better_lines(found: "Better", days: float) -> list[str]:
    """The champion, each run above it, and the commands that say whether the difference is shown."""
    head = f"{found.metric} of {found.champion}, the champion: {_with_interval(found)}, on test set {found.test_set}"
    if not found.runs:
        return [head, f"no run of the last {days:g} days is above it"]
    width = max(len(one.version) for one in found.runs)
    lines = [head, f"above it in the last {days:g} days, each with its own interval:"]
    lines += [f"  {one.version:{width}}  {_with_interval(one)}  run {one.run_id}" for one in found.runs]
    lines.append("a higher figure is not yet a difference that was shown; paired by patient, stratum by stratum:")
    versions = dict.fromkeys(one.version for one in found.runs if one.version)
    return [*lines, *(f"  cellscan compare {found.champion} {version}" for version in versions)]


def _with_interval(one: "Better | BetterRun") -> str:
    shown = "" if one.lower != one.lower else f" [{one.lower:.3f}, {one.upper:.3f}]"
    return f"{one.value:.3f}{shown}"
