"""Several versions as one."""

from prefect import flow

from flows.artifacts import show_evaluation
from flows.parameters import Version
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.settings import Settings


@tracked_stage("ensemble")
def _ensemble(name: str, versions: list[Version]) -> str:
    from pipeline.stages.ensemble import ensemble_versions
    from pipeline.stages.pictures import metrics_picture

    made = ensemble_versions(name, versions, Settings.from_environment(), progress())
    show_evaluation(made.evaluation, metrics_picture(made.evaluation))
    return made.spec


@flow(name="ensemble")
def ensemble(name: str, versions: list[Version]) -> str:
    """Register a version that averages what several versions of one network say of each place.

    Args:
        name: of the model that it becomes a version of.
        versions: two or more, as ``cells/3``.

    Returns:
        The version, as ``name/1``.
    """
    return _ensemble(name, versions)
