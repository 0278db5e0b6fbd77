"""One MLflow run for one piece of work: the same work, started again, continues the same run."""

import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from pipeline.config import ExperimentConfig
from pipeline.errors import TrackingError
from pipeline.settings import Settings
from pipeline.tracking.asking import asking, first_line
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.figures import (
    comparison_figures,
    curve_figures,
    evaluation_figures,
    metric_name,
    needed_figures,
    pooled_figures,
)
from pipeline.tracking.provenance import code_tags
from pipeline.tracking.reaper import owner_tags
from pipeline.tracking.session import artifact_root, connect, prepare

if TYPE_CHECKING:
    from pipeline.evaluation.learning_curve import LearningCurve
    from pipeline.evaluation.pooled import Pooled
    from pipeline.evaluation.records import Comparison, Evaluation

KEY_TAG = "cellscan.run_key"
TEST_SET_TAG = "cellscan.test_set"
PRIMARY_TAG = "cellscan.primary"
_ENTITIES_A_CALL = 100


class TrackedRun:
    """What may be written into a run. A finished run takes nothing more.

    ``finished`` is true where the same work was done before; ``continued`` where it was begun before.
    """

    def __init__(self, client: MlflowClient, run: Run, continued: bool) -> None:
        self.run_id: str = run.info.run_id
        self.experiment_id: str = run.info.experiment_id
        self.finished: bool = run.info.status == "FINISHED"
        self.continued = continued
        self._client = client
        self._tags = dict(run.data.tags)
        self._steps: dict[str, int] = {}
        self._link: dict[str, str | None] = {}

    def tag(self, key: str) -> str | None:
        return self._tags.get(key)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._write("tags", [RunTag(key, value) for key, value in tags.items()])
        self._tags.update(tags)

    def describe(self, text: str) -> None:
        """What MLflow's page shows as the run's description (Markdown)."""
        self.set_tags({MLFLOW_RUN_NOTE: text})

    def log_config(self, config: ExperimentConfig) -> None:
        """The resolved experiment as parameters and as ``experiment.yaml``."""
        tree = config.model_dump(mode="json")
        self._write("params", [Param(key, value) for key, value in _flat(tree)])
        self.log_text("experiment.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))

    def log_cases(self, table: CaseTable) -> None:
        """A set of cases as an MLflow dataset, and its rows as ``datasets/<context>.csv``."""
        self._check_open()
        self._client.log_inputs(self.run_id, datasets=[table.as_input()])
        self.log_text(f"datasets/{table.context}.csv", table.rows.to_csv(index=False))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Figures of one epoch. What was logged before, in this start or an interrupted one, is not logged twice."""
        fresh = {name: value for name, value in metrics.items() if epoch > self._last_step(name)}
        self._log_metrics(fresh, epoch)
        self._steps |= dict.fromkeys(fresh, epoch)

    def log_metrics(self, figures: Mapping[str, float]) -> None:
        """Figures that hold for the whole run; those that are NaN are left out."""
        self._log_metrics(figures)

    def link_figures(self, model_id: str | None, cases: CaseTable) -> None:
        """Figures that are logged from here on are those of a model version on these cases, and shown with it."""
        self.log_cases(cases)
        self._link = {"model_id": model_id, "dataset_name": cases.dataset_name, "dataset_digest": cases.dataset_digest}
        if model_id is not None and not self._made(model_id):
            self._client.log_inputs(self.run_id, models=[LoggedModelInput(model_id)])

    def link_models(self, model_ids: Sequence[str | None]) -> None:
        """Say which model versions the run is about; MLflow's page then leads from one to the other."""
        self._check_open()
        known = [LoggedModelInput(model_id) for model_id in model_ids if model_id is not None]
        if known:
            self._client.log_inputs(self.run_id, models=known)

    def log_evaluation(self, evaluation: "Evaluation") -> None:
        """Figures as metrics (see `pipeline.tracking.figures`), cases as a table, and the evaluation's folder."""
        self.log_metrics(evaluation_figures(evaluation))
        self.log_table("tables/cases.json", evaluation.cases)
        self.set_tags({TEST_SET_TAG: evaluation.test_set, PRIMARY_TAG: evaluation.primary})
        with tempfile.TemporaryDirectory() as folder:
            evaluation.save(Path(folder))
            self.log_folder(Path(folder), "evaluation")

    def log_comparison(self, comparison: "Comparison") -> None:
        """Differences as metrics (see `pipeline.tracking.figures`), and ``comparison.json``."""
        self.log_metrics(comparison_figures(comparison))
        self.set_tags({TEST_SET_TAG: comparison.test_set, PRIMARY_TAG: comparison.primary})
        self.log_json("comparison.json", comparison.to_json())

    def log_pooled(self, pooled: "Pooled") -> None:
        """Pooled figures and spreads as metrics (see `pipeline.tracking.figures`)."""
        self.log_metrics(pooled_figures(pooled))
        self.set_tags({TEST_SET_TAG: pooled.test_set, PRIMARY_TAG: pooled.primary})

    def log_curve(self, curve: "LearningCurve", patients: Sequence[int]) -> None:
        """Points as metrics whose step is the number of training patients, so that MLflow's page draws the curve."""
        for step, figures in zip(patients, curve_figures(curve), strict=True):
            self.log_epoch(step, figures)
        self.log_metrics(needed_figures(curve))
        self.set_tags({TEST_SET_TAG: curve.test_set, PRIMARY_TAG: curve.primary})

    def log_table(self, name: str, rows: pd.DataFrame) -> None:
        """A table that MLflow's page and ``mlflow.load_table`` show; given again, it takes the place of the first."""
        # MLflow's own log_table appends, so that a run that goes on would double its rows.
        self.log_text(name, rows.to_json(orient="split", index=False))
        kept = json.loads(self.tag(MLFLOW_LOGGED_ARTIFACTS) or "[]")
        table = {"path": name, "type": "table"}
        if table not in kept:
            self.set_tags({MLFLOW_LOGGED_ARTIFACTS: json.dumps([*kept, table])})

    def log_figures(self, paths: list[Path]) -> None:
        self._check_open()
        for path in paths:
            self._client.log_artifact(self.run_id, str(path), "figures")

    def log_image(self, name: str, png: bytes) -> None:
        self._check_open()
        folder, _, file = name.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / file
            path.write_bytes(png)
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_folder(self, folder: Path, name: str) -> None:
        self._check_open()
        self._client.log_artifacts(self.run_id, str(folder), name)

    def log_text(self, name: str, text: str) -> None:
        self._check_open()
        self._client.log_text(self.run_id, text, name)

    def log_json(self, name: str, content: object) -> None:
        self.log_text(name, json.dumps(content, indent=1))

    def _log_metrics(self, figures: Mapping[str, float], step: int = 0) -> None:
        now = int(time.time() * 1000)
        known = {name: value for name, value in figures.items() if value == value}  # a NaN says: there is none
        entities = [Metric(metric_name(name), float(value), now, step, **self._link) for name, value in known.items()]
        self._write("metrics", entities)

    def _made(self, model_id: str) -> bool:
        outputs = self._client.get_run(self.run_id).outputs
        return outputs is not None and any(output.model_id == model_id for output in outputs.model_outputs)

    def _last_step(self, name: str) -> int:
        if name not in self._steps:
            history = self._client.get_metric_history(self.run_id, metric_name(name)) if self.continued else []
            self._steps[name] = max((metric.step for metric in history), default=-1)
        return self._steps[name]

    def _write(self, kind: str, entities: Sequence[Any]) -> None:
        self._check_open()
        for start in range(0, len(entities), _ENTITIES_A_CALL):
            part: dict[str, Any] = {kind: entities[start : start + _ENTITIES_A_CALL]}
            self._client.log_batch(self.run_id, **part)

    def _check_open(self) -> None:
        if self.finished:
            raise TrackingError(f"run {self.run_id} is finished; nothing more is written into it")


@contextmanager
def tracked_run(
    settings: Settings,
    experiment: str,
    run_key: str,
    tags: Mapping[str, str],
    name: str | None = None,
    parent: str | None = None,
) -> Iterator[TrackedRun]:
    """The run of one piece of work, RUNNING inside the block, FINISHED after it.

    Args:
        settings: where the store is.
        experiment: name of the MLflow experiment; it is made if there is none.
        run_key: names the work (configuration and data). A run with this key that was interrupted goes on; one
            that finished is given back with ``finished`` set, and is not touched.
        tags: what else to tag it with; no identifiers.
        name: shown in the page.
        parent: id of a run that this one belongs to, as folds and seeds belong to one question; MLflow's page shows
            it below that. A run that was finished alone is put below it too.

    An error makes the run FAILED; an interrupt or SIGTERM makes it KILLED.

    Raises:
        TrackingError: another process on this machine works on the same key, or the store does not do as asked.
    """
    prepare(settings)
    client = connect(settings)
    with _alone(settings, run_key), _sigterm_unwinds():
        with asking(f"for run {run_key} of experiment {experiment!r}"):
            run = _find_or_create(client, settings, experiment, run_key, tags, name or run_key)
            if parent is not None and run.tag(MLFLOW_PARENT_RUN_ID) != parent:
                client.set_tag(run.run_id, MLFLOW_PARENT_RUN_ID, parent)
        if run.finished:
            yield run
            return
        try:
            yield run
        except BaseException as error:
            # Where the server is gone, that must not hide why the run ended; the next start puts its status right.
            with suppress(MlflowException):
                _end(client, run.run_id, RunStatus.FAILED if isinstance(error, Exception) else RunStatus.KILLED)
            if isinstance(error, MlflowException):
                raise TrackingError(f"MLflow did not do as asked in run {run.run_id}: {first_line(error)}") from error
            raise
        with asking(f"to finish run {run.run_id}"):
            _end(client, run.run_id, RunStatus.FINISHED)
        run.finished = True


def run_folder(settings: Settings, run_id: str, name: str) -> Path:
    """A folder that a run logged, on this machine.

    Raises:
        TrackingError: the run or the folder is not there.
    """
    prepare(settings)
    try:
        folder = Path(connect(settings).download_artifacts(run_id, name))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id} has no artifact {name!r}: {error}") from error
    return folder


def run_tags(settings: Settings, run_id: str) -> dict[str, str]:
    """What a run is tagged with.

    Raises:
        TrackingError: MLflow did not do as asked.
    """
    prepare(settings)
    with asking(f"for the tags of run {run_id}"):
        return dict(connect(settings).get_run(run_id).data.tags)


def epoch_history(settings: Settings, run_id: str, name: str) -> dict[int, float]:
    """What a figure was after each epoch that a run logged it for, in their order.

    Raises:
        TrackingError: MLflow did not do as asked.
    """
    prepare(settings)
    with asking(f"for {name} in run {run_id}"):
        history = connect(settings).get_metric_history(run_id, metric_name(name))
    return {metric.step: metric.value for metric in sorted(history, key=lambda metric: metric.step)}


def keep_evaluation(settings: Settings, run_id: str, evaluation: "Evaluation") -> None:
    """Put an evaluation in the place of the one that a finished run has lost; the run says so by a tag."""
    client = connect(settings)
    with tempfile.TemporaryDirectory() as folder, asking(f"to keep an evaluation in run {run_id}"):
        evaluation.save(Path(folder))
        client.log_artifacts(run_id, folder, "evaluation")
        client.set_tag(run_id, "cellscan.evaluated_again", datetime.now(UTC).isoformat(timespec="seconds"))


def _find_or_create(
    client: MlflowClient, settings: Settings, experiment: str, run_key: str, tags: Mapping[str, str], name: str
) -> TrackedRun:
    experiment_id = _experiment(client, settings, experiment)
    found = client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{run_key}'", order_by=["start_time DESC"])
    run = next((run for run in found if run.info.status == "FINISHED"), found[0] if found else None)
    if run is None:
        own = {KEY_TAG: run_key, "mlflow.source.name": "cellscan", **code_tags(), **owner_tags(), **tags}
        return TrackedRun(client, client.create_run(experiment_id, tags=own, run_name=name), continued=False)
    continued = TrackedRun(client, run, continued=True)
    if not continued.finished:
        client.update_run(continued.run_id, status="RUNNING")
        continued.set_tags(owner_tags())
    return continued


def _experiment(client: MlflowClient, settings: Settings, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage != "active":
            raise TrackingError(f"the MLflow experiment {name!r} was deleted; restore it, or choose another name")
        return str(known.experiment_id)
    root = artifact_root(settings)
    location = (root / name).as_uri() if root else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        other = client.get_experiment_by_name(name)  # another process was faster
        if other is None:
            raise
        return str(other.experiment_id)


def _end(client: MlflowClient, run_id: str, status: int) -> None:
    client.set_terminated(run_id, RunStatus.to_string(status))


@contextmanager
def _alone(settings: Settings, run_key: str) -> Iterator[None]:
    """Held by the kernel for as long as this process lives, so that no dead process can keep it."""
    folder = settings.home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"run-{run_key}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TrackingError(
            f"run {run_key} is being worked on by another cellscan process with the same configuration and data; "
            "wait for it, or stop it and start again (it continues where it stopped)"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end the block as an interrupt does, unless somebody (Prefect) already handles it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _flat(tree: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield metric_name(prefix), tree if isinstance(tree, str) else json.dumps(tree)
