"""The command that stores DICOM files on a server."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings


def send(
    sources: Annotated[list[Path], typer.Argument(help="DICOM files, or folders with .dcm files.")],
    to: Annotated[
        str, typer.Option("--to", help="https://host/dicom-web (STOW-RS) or dicom://AET@host:port (C-STORE).")
    ],
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Store DICOM files on a server: what detect --format dicom-… wrote, or any others.

    What was stored is noted, so that a command that was stopped continues and sending twice does no harm. A busy
    server is tried again for a while. CELLSCAN_DICOMWEB_USER and _PASSWORD, or _TOKEN, and _CA let a server know who
    asks; dicoms:// sends over TLS. Exits with 3 when files could not be stored; the same command tries them again.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import reason_lines
        from pipeline.stages.send import send_files

        summary = send_files(sources, to, Settings.from_environment(), screen.progress)
        counts = summary.counts()
        screen.say(f"{', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}: {to}")
        failed = [one for one in summary.files if one.outcome == "failed"]
        screen.say(*reason_lines("failed", ((one.reason, one.path) for one in failed)))
        screen.give(summary)
        if failed:
            raise typer.Exit(PARTIAL)
