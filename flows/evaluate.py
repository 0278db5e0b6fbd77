"""One version on one annotated folder, or on its own test cases."""

from prefect import flow

from flows.artifacts import show_evaluation
from flows.parameters import Archive, Subset, Version
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.settings import Settings


@tracked_stage("evaluate")
def _evaluate(version: Version, data: Archive | None, subset: Subset | None) -> dict[str, float]:
    from pipeline.stages.evaluate import evaluate_version
    from pipeline.stages.pictures import metrics_picture

    evaluation = evaluate_version(version, data, Settings.from_environment(), subset, progress())
    show_evaluation(evaluation, metrics_picture(evaluation))
    return {name: estimate.value for name, estimate in evaluation.metrics.items()}


@flow(name="evaluate")
def evaluate(version: Version, data: Archive | None = None, subset: Subset | None = None) -> dict[str, float]:
    """Score a version; cases of patients it was trained on are left out.

    Returns:
        The figures; their intervals are with the run in MLflow.
    """
    return _evaluate(version, data, subset)
