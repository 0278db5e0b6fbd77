"""The history of a name's champions as MLflow keeps it: one run, one parameter a change, bound to the name by a tag.

MLflow never changes a parameter of a run, and refuses a second value in the database itself. So each change of champion
is one parameter, named by its number: of two processes that both write number 7, on whatever machines, one gets it and
the other is told. The run is bound to the name in the moment in which the name is registered, by the name's tag
``cellscan.champions``. It also holds every policy by which somebody was judged, as ``policies/<digest>.yaml``.
"""

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config import Policy
from pipeline.errors import TrackingError
from pipeline.process import host
from pipeline.tracking.asking import is_absent

CHAMPION = "champion"
RUN_TAG = "cellscan.champions"  # on the registered name: the run that holds the history
SETTLED_TAG = "cellscan.settled"  # on that run: up to which change @champion has followed
_REASON_LENGTH = 2000  # MLflow keeps 6000 characters of a parameter; the version's tag holds the whole reason
_DEFAULT_EXPERIMENT = "0"
Action = Literal["promoted", "forced", "restored", "moved outside of cellscan", "history lost"]


@dataclass(frozen=True)
class Change:
    """One change of champion. ``policy``: name and digest of what was asked for; ``host``: digest of where it was."""

    action: Action
    version: str | None
    previous: str | None
    reason: str
    policy: str
    at: str
    host: str
    key: str

    @classmethod
    def now(cls, action: Action, version: str | None, previous: str | None, reason: str, policy: str = "") -> "Change":
        return cls(action, version, previous, reason, policy, now(), host_digest(), uuid.uuid4().hex)

    @classmethod
    def parse(cls, text: str) -> "Change":
        """What `text` gave.

        Raises:
            TrackingError: something else did.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise TrackingError(
                f"a change of champion was expected, got {text[:40]!r}: the history in MLflow was written by something "
                "else than this cellscan"
            ) from error

    def text(self) -> str:
        short = replace(self, reason=_shortened(self.reason))
        return json.dumps(asdict(short), ensure_ascii=False)


def alias_holder(client: MlflowClient, name: str) -> str | None:
    """The number of the version that holds ``@champion`` now, if one does."""
    try:
        return str(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if is_absent(error, CHAMPION):
            return None
        raise


def new_history(client: MlflowClient, name: str, experiment_id: str) -> str:
    """An empty history, not yet bound to a name.

    Returns:
        The run's id.
    """
    tags = {"cellscan.kind": "champions", "cellscan.name": name, SETTLED_TAG: "0"}
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=f"champions of {name}").info.run_id)
    client.set_terminated(run_id, "FINISHED")  # it belongs to no process: nobody is to end it
    return run_id


def bound_run(client: MlflowClient, name: str) -> str | None:
    """The id of the run that a name is bound to; `None` where there is none, or no such name."""
    try:
        return client.get_registered_model(name).tags.get(RUN_TAG)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def history_of(client: MlflowClient, name: str) -> Run:
    """The run with the history of a name.

    One that was deleted on MLflow's page is restored. Where it was deleted for good, a new history begins with whoever
    holds ``@champion``, and says that the earlier one is lost.
    """
    bound = bound_run(client, name)
    if bound is None:  # a name that was not registered by this cellscan
        return client.get_run(_begin(client, name))
    try:
        run = client.get_run(bound)
    except MlflowException as error:
        if not is_absent(error):
            raise
        lost = f"run {bound}, which held the earlier history, was deleted for good"
        return client.get_run(_begin(client, name, lost))
    if run.info.lifecycle_stage != "active":
        client.restore_run(bound)
    return run


def write(client: MlflowClient, run_id: str, number: int, change: Change) -> Change | None:
    """Write a change under a number; the change that has the number already, if one has."""
    try:
        client.log_param(run_id, _number(number), change.text())
    except MlflowException:
        # Refused because it is taken, or not answered: what stands there decides.
        written = client.get_run(run_id).data.params.get(_number(number))
        if written is None:
            raise
        taken = Change.parse(written)
        return None if taken.key == change.key else taken
    return None


def changes_in(run: Run) -> tuple[Change, ...]:
    """The changes, oldest first; parameters that somebody else gave the run are none of them."""
    kept = run.data.params
    found: list[Change] = []
    while (number := _number(len(found) + 1)) in kept:
        found.append(Change.parse(kept[number]))
    return tuple(found)


def is_followed(run: Run) -> bool:
    """Whether ``@champion`` is known to have followed the last change."""
    return int(run.data.tags.get(SETTLED_TAG, "0")) >= len(changes_in(run))


def keep_policy(client: MlflowClient, run_id: str, policy: Policy | None) -> None:
    """The text of a policy, by its digest."""
    if policy is not None:
        client.log_text(run_id, policy.text(), f"policies/{policy.digest()}.yaml")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def host_digest() -> str:
    """Tells hosts apart without naming one."""
    return hashlib.sha256(host().encode()).hexdigest()[:12]


def _begin(client: MlflowClient, name: str, lost: str = "") -> str:
    experiment = client.get_experiment_by_name(name)
    run_id = new_history(client, name, experiment.experiment_id if experiment else _DEFAULT_EXPERIMENT)
    if lost:
        write(client, run_id, 1, Change.now("history lost", alias_holder(client, name), None, lost))
    client.set_registered_model_tag(name, RUN_TAG, run_id)
    return run_id


def _number(number: int) -> str:
    return f"{number:06d}"


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON_LENGTH else f"{reason[:_REASON_LENGTH]} …"
