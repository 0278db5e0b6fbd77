"""Commands on the whole: examine the machine, run one experiment from archive to report."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Experiment, Home, Overrides, Policy, Verbose
from pipeline.cli.screen import FAILED, Screen
from pipeline.settings import Settings

_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def doctor(as_json: AsJson = False, home: Home = None, verbose: Verbose = False) -> None:
    """Say what is installed, which device is used, whether the servers answer and what the catalog holds.

    Exits with 1 when something was found that makes commands fail.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.doctor import examine

        diagnosis = examine(Settings.from_environment())
        screen.say(*(f"{_MARKS[f.state]} {f.topic:9} {f.text}" for f in diagnosis.findings))
        screen.give(diagnosis)
        if not diagnosis.healthy:
            raise typer.Exit(FAILED)


def run(
    experiment: Experiment,
    overrides: Overrides = None,
    archive: Annotated[
        str | None,
        typer.Option("--archive", help="Scans to detect on with the champion.", show_default="the experiment's data"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the detections.", show_default="in the home folder")
    ] = None,
    policy: Policy = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Run one experiment from archive to report, as the Prefect flow scan_to_report.

    Ingest, train, evaluate, compare with the champion, promote, detect, report. What was done before is not done
    again.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from flows.parameters import Experiment as Chosen
        from pipeline.cli.flow import run_whole
        from pipeline.config import load_experiment, load_policy

        load_experiment(experiment, overrides or ())
        if policy:
            load_policy(policy)
        chosen = Chosen(path=experiment, overrides=tuple(overrides or ()))
        outcome = run_whole([chosen], Settings.from_environment(), screen, archive, out, verbose, policy)
        screen.say(*outcome.lines())
        screen.give(outcome)
