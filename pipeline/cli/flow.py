"""Flows, run for a command."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows.parameters import Experiment
from flows.session import prefect_session
from pipeline.cli.outcome import WholeOutcome, gather
from pipeline.cli.screen import Screen
from pipeline.settings import Settings
from pipeline.stages.experiment import experiment_source

if TYPE_CHECKING:
    from pipeline.stages.detect import Prepared


def run_whole(
    experiments: Sequence[Experiment],
    settings: Settings,
    screen: Screen,
    archive: str | None = None,
    out: Path | None = None,
    verbose: bool = False,
    policy: Path | None = None,
) -> WholeOutcome:
    """Run the flow on experiments, on the user's Prefect server or on one of its own."""
    with prefect_session(settings, screen.progress, quiet=not verbose):
        from flows.scan_to_report import scan_to_report

        outcome = scan_to_report(list(experiments), archive, out, policy)
    sources = [archive] if archive else []
    sources += [str(experiment_source(experiment.load(), settings)) for experiment in experiments]
    return gather(outcome, list(dict.fromkeys(sources)), settings, screen.progress)


def by_runner(settings: Settings, screen: Screen, verbose: bool = False) -> "Callable[[Prepared], None]":
    """What has a detection done by Prefect's task runner, on the user's Prefect server or on one of its own."""

    def hand_out(prepared: "Prepared") -> None:
        with prefect_session(settings, screen.progress, quiet=not verbose):
            from flows.detect import hand_out

            hand_out(prepared)

    return hand_out
