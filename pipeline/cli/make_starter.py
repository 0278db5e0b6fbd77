"""``python -m pipeline.cli.make_starter VERSION NAME``: for those who ship cellscan, so it is none of its commands."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose, Version
from pipeline.cli.screen import Screen
from pipeline.settings import Settings


def make_starter(
    version: Version,
    name: Annotated[str, typer.Argument(help="Of the starter: small letters, digits and dashes.")],
    shelf: Annotated[
        Path | None, typer.Option("--shelf", help="Folder that holds starters.", show_default="in the package")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Write a registered version as a starter model: halved weights, licence and card, into the package's folder."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.stages.make_starter import make_starter as make

        made = make(version, name, Settings.from_environment(), shelf, screen.progress)
        screen.say(f"{made.spec} written to {made.folder}, digest {made.digest[:16]}: {made.tested}")
        screen.give({"spec": made.spec, "folder": made.folder, "digest": made.digest})


if __name__ == "__main__":
    typer.run(make_starter)
