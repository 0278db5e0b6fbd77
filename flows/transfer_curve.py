"""One experiment from scratch and transferred, on several shares of its data → versions below one run with a curve."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.artifacts import show_curve
from flows.parameters import Experiment
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.config import ExperimentConfig
from pipeline.settings import Settings

Shares = Annotated[list[float], Field(min_length=2, description="of the training patients, 1 among them")]
Source = Annotated[str | None, Field(description="as training.initial_weights; empty: the experiment's, or ImageNet")]
Seeds = Annotated[int, Field(ge=1, description="how many trainings each")]
_SHARES = [0.05, 0.1, 0.25, 0.5, 1.0]


@tracked_stage("train one of a curve")
def _train(config: ExperimentConfig, parent: str) -> str:
    from pipeline.stages.train import train_version

    return train_version(config, Settings.from_environment(), progress(), parent, shift=False).spec


@flow(name="transfer_curve")
def transfer_curve(
    experiment: Experiment,
    source: Source = None,
    shares: Shares = _SHARES,
    seeds: Seeds = 3,
    steps_by_data: bool = False,
) -> tuple[str, ...]:
    """Train both ways on every share from every seed, one task each; stopped anywhere and started again, it continues.

    Args:
        experiment: what to train.
        source: the version to transfer from; empty: the experiment's initial weights, or ImageNet.
        shares: of the training patients.
        seeds: how many, from the experiment's own upwards.
        steps_by_data: fewer data, fewer steps.

    Returns:
        The versions, as ``name/3``.
    """
    from pipeline.stages import transfer_curve as stage

    settings = Settings.from_environment()
    found = stage.transfer_curve(experiment.load(), settings, source, shares, seeds, steps_by_data, progress(), _train)
    show_curve(found)
    return found.versions
