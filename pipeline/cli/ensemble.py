"""Several versions as one."""

from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import Screen
from pipeline.settings import Settings


def ensemble(
    name: Annotated[str, typer.Argument(help="The model that it becomes a version of, e.g. cells_of_three.")],
    versions: Annotated[list[str], typer.Argument(help="Two or more versions: name/1 name/2 name/3.")],
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Register a version that averages what several versions of one network say of each place.

    Such as those of train --seeds 0,1,2. It takes as long as all of them together, and is evaluated, compared, promoted
    and detected with like any other; explain shows its first network.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import evaluation_lines
        from pipeline.stages.ensemble import ensemble_versions

        made = ensemble_versions(name, versions, Settings.from_environment(), screen.progress)
        told = "was there before, nothing was done again" if made.reused else f"averages {', '.join(made.members)}"
        screen.say(f"{made.spec} {told}; threshold {made.threshold:.3f}", *evaluation_lines(made.evaluation))
        screen.give(made)
