"""Commands on model versions: train, evaluate, compare, promote, rollback, report."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Devices, Experiment, Home, Overrides, Policy, Verbose, Version
from pipeline.cli.screen import PARTIAL, Screen
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.config import ExperimentConfig


def train(
    experiment: Experiment,
    overrides: Overrides = None,
    folds: Annotated[
        str | None,
        typer.Option("--folds", metavar="all|0,2", help="Train each of these folds.", show_default="the experiment's"),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="0,1,2",
            help="Train from each of these seeds, on the same division of the data.",
            show_default="the experiment's",
        ),
    ] = None,
    devices: Devices = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Train one experiment, evaluate it on its test set and register it as a model version.

    A training that was stopped continues from its last checkpoint when the same command is given again; a
    finished one is not repeated. With --folds or --seeds, one version each, below one run in MLflow that holds the
    figures of all of them together. torchrun -m pipeline.cli train works too.
    """
    with _one_of_several(), Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import evaluation_lines, trained_line
        from pipeline.config import load_experiment
        from pipeline.stages.train import train_version

        config = load_experiment(experiment, overrides or ())
        if folds is not None or seeds is not None:
            _train_group(config, folds, seeds, screen)
            return
        trained = train_version(config, Settings.from_environment(), screen.progress)
        screen.say(trained_line(trained), *evaluation_lines(trained.evaluation))
        screen.give(trained)


@contextmanager
def _one_of_several() -> Iterator[None]:
    """Of the processes that torchrun starts only the first has a screen and runs; the others help it to train."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    from pipeline.training.team import follow, follows, release

    if follows():
        follow()
        raise typer.Exit
    try:
        yield
    finally:
        release()


def _train_group(config: "ExperimentConfig", folds: str | None, seeds: str | None, screen: Screen) -> None:
    from pipeline.cli.group_lines import group_lines
    from pipeline.cli.numbers import parse_folds, parse_seeds
    from pipeline.stages.train_group import train_group

    settings = Settings.from_environment()
    group = train_group(config, settings, parse_folds(folds), parse_seeds(seeds), screen.progress)
    screen.say(*group_lines(group))
    screen.give(group)


def evaluate(
    version: Version,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Annotated folder to evaluate on.", show_default="the version's own test set"),
    ] = None,
    subset: Annotated[
        str | None, typer.Option(help="Only scans that the folder's index gives to train, validation or test.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Score a model version, each figure with its bootstrap interval over patients.

    Scans of patients that the version was trained on are left out and counted.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import evaluation_lines
        from pipeline.stages.evaluate import evaluate_version

        evaluation = evaluate_version(
            version, data, Settings.from_environment(), subset=subset, progress=screen.progress
        )
        screen.say(*evaluation_lines(evaluation))
        screen.give(evaluation.summary())


def compare(
    a: Annotated[str, typer.Argument(help="The version to compare against: name@champion, name/3, or a run's id.")],
    b: Annotated[str, typer.Argument(help="The version that may be better, e.g. name/4, or a run's id.")],
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Compare two versions on the same test set: differences (B - A) paired by patient, with interval and p-value."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.cli.lines import comparison_lines
        from pipeline.stages.compare import compare_versions

        comparison = compare_versions(a, b, Settings.from_environment(), screen.progress)
        screen.say(*comparison_lines(comparison))
        screen.give(comparison)


def promote(
    version: Annotated[str, typer.Argument(help="The challenger: name/3.")],
    policy: Policy = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote although the policy does not hold; that is recorded.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Make a version the @champion, if a policy holds against the present one.

    Without --policy: it is not worse by more than 0.02, and no class drops beyond chance. Neither of the two may have
    been trained on a patient of the test set, which is the champion's where they have none in common. The reason is
    kept on the version in MLflow. Exits with 3 when the version was not promoted.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.config import load_policy
        from pipeline.stages.promote import promote_version
        from pipeline.stages.versions import parse_version

        name, number = parse_version(version)
        asked = load_policy(policy) if policy else None
        decision = promote_version(name, number, Settings.from_environment(), force, screen.progress, asked)
        verb = "promoted" if decision.promoted else "not promoted"
        champion = f"{name}/{decision.champion}" if decision.champion else "no version"
        screen.say(f"{version} {verb}: {decision.reason}; @champion is {champion}")
        screen.give(decision)
        if not decision.promoted:
            raise typer.Exit(PARTIAL)


def rollback(
    name: Annotated[str, typer.Argument(help="The registered model, e.g. lesions.")],
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Give @champion back to the version that held it before; given again, to the one before that.

    The version that is rolled back is not promoted again without --force.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.stages.rollback import rollback_champion

        done = rollback_champion(name, Settings.from_environment())
        screen.say(f"@champion is {name}/{done.champion} again: {done.reason}")
        screen.give(done)


def report(
    targets: Annotated[
        list[str], typer.Argument(help="name/3, name@champion, or two versions: name/2..name/3; one or several.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write.", show_default="in the home folder")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Write one HTML file on versions, or on two compared: scores, curves, missed and false findings, data, model."""
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.stages.report import write_report

        written = write_report(targets, Settings.from_environment(), out, screen.progress)
        screen.say(f"report: {written}")
        screen.give({"report": written})
