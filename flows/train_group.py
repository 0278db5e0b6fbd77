"""One experiment on several folds or from several seeds → a version each, below one run that holds their figures."""

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.artifacts import show_evaluation, show_group
from flows.parameters import Experiment
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.config import ExperimentConfig
from pipeline.settings import Settings

Folds = Annotated[Literal["all"] | list[int] | None, Field(description="all, or their numbers; empty: its own")]
Seeds = Annotated[list[int] | None, Field(description="of weights and patches; empty: the experiment's own")]


@tracked_stage("train one of a group")
def _train(config: ExperimentConfig, parent: str) -> str:
    from pipeline.stages.pictures import metrics_picture
    from pipeline.stages.train import train_version

    trained = train_version(config, Settings.from_environment(), progress(), parent)
    show_evaluation(trained.evaluation, metrics_picture(trained.evaluation))
    return trained.spec


@flow(name="train_group")
def train_group(experiment: Experiment, folds: Folds = None, seeds: Seeds = None) -> tuple[str, ...]:
    """Train every fold from every seed, one task each; stopped anywhere and started again, it continues.

    Args:
        experiment: what to train.
        folds: which of its folds, or all.
        seeds: of weights and patches; the division of the data stays.

    Returns:
        The versions, as ``name/3``.
    """
    from pipeline.stages import train_group as stage

    settings = Settings.from_environment()
    group = stage.train_group(experiment.load(), settings, folds, seeds, progress(), _train)
    show_group(group)
    return group.versions
