"""What the id of a run stands for where a model version is asked for."""

import re
from dataclasses import dataclass

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.tracking.asking import asking, is_absent
from pipeline.tracking.session import connect, prepare

_RUN = re.compile(r"(?:runs:/)?(?P<id>[0-9a-f]{32})")


@dataclass(frozen=True)
class RunTarget:
    """``version`` is ``name/3``; ``other`` the version that it was compared with, in a comparison's run;
    ``evaluation`` the run's id where it is an evaluation on other data than the version's own."""

    version: str
    other: str | None = None
    evaluation: str | None = None


def run_id_of(text: str) -> str | None:
    """The id in ``8f…`` (32 hex digits) or ``runs:/8f…``; ``None`` where it is not the id of a run."""
    match = _RUN.fullmatch(text)
    return match["id"] if match else None


def target_of_run(settings: Settings, run_id: str) -> RunTarget:
    """The version that a run trained, evaluated or explained, or the two that it compared.

    Raises:
        ModelError: there is no such run, or it stands for no version.
        TrackingError: MLflow did not do as asked.
    """
    prepare(settings)
    client = connect(settings)
    with asking(f"for run {run_id}"):
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if is_absent(error):
                raise ModelError(f"there is no run {run_id!r} in MLflow") from error
            raise
        found = client.search_model_versions(f"run_id = '{run_id}'")
    tags = run.data.tags
    kind = tags.get("cellscan.kind", "")
    if kind == "compare":
        return RunTarget(tags["cellscan.model_b"], tags["cellscan.model_a"])
    if kind == "evaluate":
        return RunTarget(tags["cellscan.model"], evaluation=run_id)
    if kind == "explain":
        return RunTarget(tags["cellscan.model"])
    if found:
        newest = max(found, key=lambda version: int(version.version))
        return RunTarget(f"{newest.name}/{newest.version}")
    raise ModelError(_stands_for_none(run, kind))


def version_of(settings: Settings, text: str) -> str:
    """A version as it is written, or in the place of a run's id the version that the run stands for.

    Raises:
        ModelError, TrackingError: as `target_of_run`.
    """
    run_id = run_id_of(text)
    return text if run_id is None else target_of_run(settings, run_id).version


def _stands_for_none(run: Run, kind: str) -> str:
    what = f"run {run.info.run_id} ({kind or 'not of cellscan'}, {run.info.status.lower()})"
    if kind in ("group", "transfer_curve"):
        return f"{what} holds several versions: name one of the runs below it, or a version such as name/3"
    return f"{what} registered no model version: name a version such as name/3, or the run that trained one"
