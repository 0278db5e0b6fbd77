"""The flow scan_to_report, run for a command."""

from collections.abc import Sequence
from pathlib import Path

from flows.parameters import Experiment
from flows.session import prefect_session
from pipeline.cli.outcome import WholeOutcome, gather
from pipeline.cli.screen import Screen
from pipeline.settings import Settings
from pipeline.stages.experiment import experiment_source


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
