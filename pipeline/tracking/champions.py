"""Who the champion of a name was, is and why: a history in MLflow that two processes cannot write at once.

MLflow moves an alias for whoever asks last. It never changes a parameter of a run, though, and refuses a second value
in the database itself. So each change of champion is one parameter of one run, named by its number: of two processes
that both write number 7, on whatever machines, one gets it and the other is told. ``@champion`` follows that history.
The run is bound to the name in the moment in which the name is registered, by the name's tag ``cellscan.champions``.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.errors import ModelError, TrackingError
from pipeline.process import host
from pipeline.settings import Settings
from pipeline.tracking.asking import asking, is_absent
from pipeline.tracking.session import connect, prepare

CHAMPION = "champion"
RUN_TAG = "cellscan.champions"  # on the registered name: the run that holds the history
REASON_TAG = "cellscan.promotion_reason"
_SETTLED_TAG = "cellscan.settled"  # on that run: up to which change @champion has followed
_REASON_LENGTH = 2000  # MLflow keeps 6000 characters of a parameter; the version's tag holds the whole reason
_LOCK_SECONDS = 60
_DEFAULT_EXPERIMENT = "0"
Action = Literal["promoted", "forced", "restored", "moved outside of cellscan"]


@dataclass(frozen=True)
class Change:
    """One change of champion. ``policy`` is the digest of what was asked for; ``host`` that of where it happened."""

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
        return cls(action, version, previous, reason, policy, _now(), _host(), uuid.uuid4().hex)

    @classmethod
    def parse(cls, text: str) -> "Change":
        return cls(**json.loads(text))

    def text(self) -> str:
        short = replace(self, reason=_shortened(self.reason))
        return json.dumps(asdict(short), ensure_ascii=False)


@dataclass(frozen=True)
class Champions:
    """The history of a name, oldest first."""

    name: str
    changes: tuple[Change, ...]

    @property
    def current(self) -> str | None:
        return self.changes[-1].version if self.changes else None

    @property
    def earlier(self) -> tuple[str, ...]:
        """Those that a rollback goes back to, the last first: a champion that was rolled back is none of them."""
        stack: list[str] = []
        for change in self.changes:
            if change.version is None:
                continue
            if change.action == "restored":
                while stack and stack[-1] != change.version:
                    stack.pop()
            if not stack or stack[-1] != change.version:
                stack.append(change.version)
        if stack and stack[-1] == self.current:
            stack.pop()
        return tuple(reversed(stack))

    def replaced(self, version: str) -> Change | None:
        """The change by which a version that was champion stopped being it."""
        ends = (change for change in reversed(self.changes) if change.previous == version)
        return None if version == self.current else next(ends, None)


class ChampionMoved(ModelError):
    """Somebody else changed the champion in the meantime."""


def champions(settings: Settings, name: str) -> Champions:
    """The history of a name. An ``@champion`` that was moved by other means than cellscan is taken into it.

    Raises:
        TrackingError: MLflow did not do as asked.
    """
    prepare(settings)
    client = connect(settings)
    with asking(f"for the champions of {name!r}"):
        if _tag_of_name(client, name) is None and alias_holder(client, name) is None:
            return Champions(name, ())
        with _alone(settings, name):
            return _settled(client, name, _run_of(client, name))


def change_champion(settings: Settings, known: Champions, change: Change) -> None:
    """Write the next change of ``known`` into the history, on the versions, and move ``@champion``.

    Raises:
        ChampionMoved: there is a later change than ``known`` has; nothing was changed.
        TrackingError: MLflow did not do as asked.
    """
    client = connect(settings)
    with asking(f"to make {known.name}/{change.version} the champion"), _alone(settings, known.name):
        run_id = _run_of(client, known.name)
        taken = _write(client, run_id, len(known.changes) + 1, change)
        if taken is not None:
            raise ChampionMoved(_told_of(taken, known))
        _follow(client, known.name, run_id)


def refuse(settings: Settings, name: str, version: str, reason: str, policy: str = "") -> None:
    """Say on a version why it was not promoted."""
    prepare(settings)
    tags = {
        "cellscan.promotion": "refused",
        REASON_TAG: reason,
        "cellscan.promotion_forced": "false",
        "cellscan.promotion_policy": policy,
        **_when(_now(), _host()),
    }
    with asking(f"to keep on {name}/{version} why it was not promoted"):
        _tag(connect(settings), name, version, tags)


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
    tags = {"cellscan.kind": "champions", "cellscan.name": name, _SETTLED_TAG: "0"}
    run_id = str(client.create_run(experiment_id, tags=tags, run_name=f"champions of {name}").info.run_id)
    client.set_terminated(run_id, "FINISHED")  # it belongs to no process: nobody is to end it
    return run_id


def _settled(client: MlflowClient, name: str, run_id: str) -> Champions:
    """The history, brought together with ``@champion``: the one that was left behind follows the other."""
    while True:
        # In this order: a change that comes between the two questions makes the write below fail, and not the history.
        run = client.get_run(run_id)
        changes = _changes(run)
        known = Champions(name, changes)
        holder = alias_holder(client, name)
        followed = int(run.data.tags.get(_SETTLED_TAG, "0")) >= len(changes)
        if holder == known.current:
            if not followed:
                client.set_tag(run_id, _SETTLED_TAG, str(len(changes)))
            return known
        if not followed:  # killed between the history and the alias
            _follow(client, name, run_id)
            continue
        reason = f"@{CHAMPION} was set by other means" if holder else f"@{CHAMPION} was removed by other means"
        found = Change.now("moved outside of cellscan", holder, known.current, reason)
        if _write(client, run_id, len(changes) + 1, found) is None:
            client.set_tag(run_id, _SETTLED_TAG, str(len(changes) + 1))


def _follow(client: MlflowClient, name: str, run_id: str) -> None:
    """Move ``@champion`` to where the history ends; again, if it went on meanwhile."""
    followed = 0
    while followed < len(changes := _changes(client.get_run(run_id))):
        followed = len(changes)
        _show(client, name, changes[-1])
    client.set_tag(run_id, _SETTLED_TAG, str(followed))


def _show(client: MlflowClient, name: str, change: Change) -> None:
    if change.version is None:
        client.delete_registered_model_alias(name, CHAMPION)
        return
    try:
        _tag(client, name, change.version, _tags(change))
        client.set_registered_model_alias(name, CHAMPION, change.version)
        if change.action == "restored" and change.previous:
            told = f"{name}/{change.version} was restored in its place"
            gone = {"cellscan.promotion": "rolled back", REASON_TAG: told, **_when(change.at, change.host)}
            _tag(client, name, change.previous, gone)
    except MlflowException as error:
        if not is_absent(error):  # a version that was deleted meanwhile holds no alias
            raise


def _tags(change: Change) -> dict[str, str]:
    return {
        "cellscan.promotion": change.action,
        REASON_TAG: change.reason,
        "cellscan.promotion_forced": str(change.action == "forced").lower(),
        "cellscan.promotion_policy": change.policy,
        "cellscan.previous_champion": change.previous or "",
        **_when(change.at, change.host),
    }


def _when(at: str, where: str) -> dict[str, str]:
    return {"cellscan.promotion_at": at, "cellscan.promotion_host": where}


def _tag(client: MlflowClient, name: str, version: str, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def _write(client: MlflowClient, run_id: str, number: int, change: Change) -> Change | None:
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


def _changes(run: Run) -> tuple[Change, ...]:
    kept = run.data.params
    return tuple(Change.parse(kept[number]) for number in sorted(kept))


def _number(number: int) -> str:
    return f"{number:06d}"


def _run_of(client: MlflowClient, name: str) -> str:
    known = _tag_of_name(client, name)
    if known is not None:
        return known
    # A name that was not registered by this cellscan.
    experiment = client.get_experiment_by_name(name)
    history = new_history(client, name, experiment.experiment_id if experiment else _DEFAULT_EXPERIMENT)
    client.set_registered_model_tag(name, RUN_TAG, history)
    return history


def _tag_of_name(client: MlflowClient, name: str) -> str | None:
    try:
        return client.get_registered_model(name).tags.get(RUN_TAG)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


@contextmanager
def _alone(settings: Settings, name: str) -> Iterator[None]:
    """Processes of one home wait for each other; those of others meet in the history itself."""
    folder = settings.home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"champion-{name}.lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise TrackingError(
            f"another cellscan process has been changing the champion of {name!r} for {_LOCK_SECONDS} s; try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _told_of(taken: Change, known: Champions) -> str:
    now = f"{known.name}/{taken.version}" if taken.version else "no version"
    then = f"{known.name}/{known.current}" if known.current else "no version"
    return (
        f"{now} was made the champion meanwhile ({taken.action} at {taken.at}), where {then} was before: "
        "nothing was changed; give the command again to have it judged anew"
    )


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _REASON_LENGTH else f"{reason[:_REASON_LENGTH]} …"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _host() -> str:
    return hashlib.sha256(host().encode()).hexdigest()[:12]
