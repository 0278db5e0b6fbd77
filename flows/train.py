"""One experiment → one registered version."""

from prefect import flow

from flows.artifacts import show_evaluation
from flows.parameters import Experiment
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.settings import Settings


@tracked_stage("train")
def _train(experiment: Experiment) -> str:
    from pipeline.stages.pictures import metrics_picture
    from pipeline.stages.train import train_version

    trained = train_version(experiment.load(), Settings.from_environment(), progress())
    show_evaluation(trained.evaluation, metrics_picture(trained.evaluation))
    return trained.spec


@flow(name="train")
def train(experiment: Experiment) -> str:
    """Train, evaluate and register; stopped anywhere and started again, it continues.

    Returns:
        The version, as ``name/3``.
    """
    return _train(experiment)
