"""The command that detects on what newly arrives."""

import signal
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.archive import Formats, Where, conditions
from pipeline.cli.options import AsJson, Home, Verbose, Version, Workers
from pipeline.cli.screen import Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.stages.watch import Failure
    from pipeline.stages.watch_round import Round


def watch(
    version: Version,
    source: Annotated[
        str,
        typer.Argument(help="A folder, https://… of a DICOMweb server, or catalog: what other commands ingest."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results, a folder a version in it.")],
    every: Annotated[str, typer.Option(help="Look so often, such as 30s, 5m or 1h.")] = "1m",
    settle: Annotated[str, typer.Option(help="A file that has not changed for so long is there whole.")] = "30s",
    where: Where = None,
    formats: Formats = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Do again, with a new champion, the scans that an earlier version did.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do, for schedulers.")] = False,
    workers: Workers = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Detect on what newly arrives, with whatever version name@champion is at the time, until Ctrl-C or SIGTERM.

    Each look that finds nothing new costs a listing of names, sizes and times. What still changes is waited for, and
    so is the rest of its series. A look that fails (no champion yet, a server that is away) is told once and tried
    again, later and later. Stopped or killed at any moment, the same command goes on where it was.

    In OUT there is a folder for each version, as cellscan detect leaves it, and scans.csv, which says which version
    did which scan, or why none did. Each scan lies in one of these folders: with --rerun a new champion does all
    scans again and they move to its folder; without, what earlier versions did stays in theirs.

    One line is printed when something happened; with --json one JSON object a line.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        for ending in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored where a shell started this with `&`
            signal.signal(ending, signal.default_int_handler)
        try:
            from pipeline.cli.numbers import parse_seconds
            from pipeline.stages.watch import watch as rounds
            from pipeline.stages.watch_round import WatchOptions

            settings, elsewhere = Settings.from_environment(), None
            if settings.runner.kind != "processes":
                from pipeline.cli.flow import by_runner

                elsewhere = by_runner(settings, screen, verbose)
            options = WatchOptions(
                every=parse_seconds("--every", every, above=0),
                settle=parse_seconds("--settle", settle),
                where=conditions(where),
                rerun=rerun,
                formats=tuple(formats or ()),
                once=once,
            )
            if not once:
                screen.note(f"watching {source} with {version}, every {every}; Ctrl-C ends it")

            def pause(seconds: float) -> None:
                screen.say()  # nothing, without a bar that would seem to move
                time.sleep(seconds)

            for told in rounds(version, source, out, settings, options, screen.progress, elsewhere, wait=pause):
                _tell(screen, told)
        except KeyboardInterrupt:
            if once:
                raise
            screen.note("stopped; the same command goes on from here")


def _tell(screen: Screen, told: "Round | Failure") -> None:
    from pipeline.stages.watch import Failure

    if isinstance(told, Failure):
        screen.note(_failure_line(told))
    else:
        screen.say(*_round_lines(told))
    screen.give_line(told)


def _failure_line(failure: "Failure") -> str:
    return f"{_now()} tried again in {failure.seconds:.0f} s, and then later and later: {failure.error}"


def _round_lines(told: "Round") -> list[str]:
    from pipeline.cli.lines import number, reason_lines

    scans = f"{number(len(told.scans), 'scan')}, {number(told.detections, 'detection')}"
    more = [
        f"now it is {told.model}, it was {told.was}" if told.was else "",
        "it works again" if told.recovered else "",
        f"{told.done_again} of the scans again" if told.done_again else "",
        f"{number(told.done_before, 'scan')} done before, written now" if told.done_before else "",
        f"{number(told.withdrawn, 'result')} withdrawn: files went, or became another scan" if told.withdrawn else "",
        f"{number(told.by_others, 'scan')} left as another version did them" if told.was and told.by_others else "",
        f"{number(told.left, 'scan')} to do" if told.left else "",
    ]
    head = "; ".join([f"{_now()} {told.model}: {scans}", *filter(None, more)])
    return [
        f"{head}: {told.out}",
        *reason_lines("quarantined", ((why, what) for what, why in told.quarantined.items())),
        *reason_lines("not done yet", ((why, what) for what, why in told.unfinished.items())),
        *(f"  not fetched: {count} instances: {why}" for why, count in told.unfetched.items()),
    ]


def _now() -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}"
