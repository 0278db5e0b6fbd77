"""Who the champion of a name was, is and why, and how another becomes it: never two processes at once.

MLflow moves an alias for whoever asks last. So the history decides (`pipeline.tracking.history`), in which only one
process can write the next change, and ``@champion`` follows it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config import Policy
from pipeline.errors import ModelError, TrackingError
from pipeline.settings import Settings
from pipeline.tracking.asking import asking, is_absent
from pipeline.tracking.history import (
    CHAMPION,
    SETTLED_TAG,
    Change,
    alias_holder,
    bound_run,
    changes_in,
    history_of,
    host_digest,
    is_followed,
    keep_policy,
    now,
    write,
)
from pipeline.tracking.session import connect, prepare

REASON_TAG = "cellscan.promotion_reason"
_LOCK_SECONDS = 60


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
        if bound_run(client, name) is None and alias_holder(client, name) is None:
            return Champions(name, ())
        with _alone(settings, name):
            return _settled(client, name)


def change_champion(settings: Settings, known: Champions, change: Change, policy: Policy | None = None) -> None:
    """Write the next change of ``known`` into the history, on the versions, and move ``@champion``.

    ``policy`` is what was asked for, if anything was; its text is kept with the history.

    Raises:
        ChampionMoved: there is a later change than ``known`` has; nothing was changed.
        TrackingError: MLflow did not do as asked.
    """
    client = connect(settings)
    with asking(f"to make {known.name}/{change.version} the champion"), _alone(settings, known.name):
        run = history_of(client, known.name)
        if len(changes_in(run)) < len(known.changes):
            raise ChampionMoved(f"the history of {known.name} was lost meanwhile; nothing was changed; try again")
        keep_policy(client, run.info.run_id, policy)
        taken = write(client, run.info.run_id, len(known.changes) + 1, change)
        if taken is not None:
            raise ChampionMoved(_told_of(taken, known))
        _follow(client, known.name, run.info.run_id)


def refuse(settings: Settings, name: str, version: str, reason: str, policy: Policy | None = None) -> None:
    """Say on a version why it was not promoted; one that is the champion by now keeps what made it that."""
    prepare(settings)
    client = connect(settings)
    tags = {
        "cellscan.promotion": "refused",
        REASON_TAG: reason,
        "cellscan.promotion_forced": "false",
        "cellscan.promotion_policy": policy.title if policy else "",
        **_when(now(), host_digest()),
    }
    with asking(f"to keep on {name}/{version} why it was not promoted"), _alone(settings, name):
        run_id = history_of(client, name).info.run_id
        if _settled(client, name).current == version:
            return
        keep_policy(client, run_id, policy)
        _tag(client, name, version, tags)
        changes = changes_in(client.get_run(run_id))
        if changes and changes[-1].version == version:  # made the champion between the two, on another machine
            _tell(client, name, changes[-1])


def catch_up(settings: Settings, client: MlflowClient, name: str) -> None:
    """Let ``@champion`` follow a change whose writer was killed before the alias moved; else nothing is written."""
    bound = bound_run(client, name)
    if bound is None:
        return
    try:
        run = client.get_run(bound)
    except MlflowException as error:
        if is_absent(error):
            return
        raise
    if not is_followed(run):
        champions(settings, name)


def _settled(client: MlflowClient, name: str) -> Champions:
    """The history, brought together with ``@champion``: the one that was left behind follows the other."""
    run_id = history_of(client, name).info.run_id
    while True:
        # In this order: a change that comes between the two questions makes the write below fail, and not the history.
        run: Run = client.get_run(run_id)
        known = Champions(name, changes_in(run))
        holder = alias_holder(client, name)
        if holder == known.current:
            if not is_followed(run):
                client.set_tag(run_id, SETTLED_TAG, str(len(known.changes)))
            return known
        if not is_followed(run):  # killed between the history and the alias
            _follow(client, name, run_id)
            continue
        reason = f"@{CHAMPION} was set by other means" if holder else f"@{CHAMPION} was removed by other means"
        found = Change.now("moved outside of cellscan", holder, known.current, reason)
        if write(client, run_id, len(known.changes) + 1, found) is None:
            _tell(client, name, found)
            client.set_tag(run_id, SETTLED_TAG, str(len(known.changes) + 1))


def _follow(client: MlflowClient, name: str, run_id: str) -> None:
    """Move ``@champion`` to where the history ends; again, if it went on meanwhile."""
    followed = 0
    while followed < len(changes := changes_in(client.get_run(run_id))):
        followed = len(changes)
        _tell(client, name, changes[-1])
        _move(client, name, changes[-1].version)
    client.set_tag(run_id, SETTLED_TAG, str(followed))


def _move(client: MlflowClient, name: str, version: str | None) -> None:
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
        return
    with _unless_deleted():  # such a version holds no alias
        client.set_registered_model_alias(name, CHAMPION, version)


def _tell(client: MlflowClient, name: str, change: Change) -> None:
    """Say on the champion how it became it, and on the one before by whom it was replaced."""
    if change.version is not None:
        with _unless_deleted():
            _tag(client, name, change.version, _tags(change))
    if change.previous not in (None, change.version):
        with _unless_deleted():
            _tag(client, name, str(change.previous), _tags_of_previous(name, change))


def _tags(change: Change) -> dict[str, str]:
    return {
        "cellscan.promotion": change.action,
        REASON_TAG: change.reason,
        "cellscan.promotion_forced": str(change.action == "forced").lower(),
        "cellscan.promotion_policy": change.policy,
        "cellscan.previous_champion": change.previous or "",
        "cellscan.replaced_by": "",
        "cellscan.replaced_at": "",
        **_when(change.at, change.host),
    }


def _tags_of_previous(name: str, change: Change) -> dict[str, str]:
    """Why a replaced champion was promoted stays on it; of one that was rolled back that says nothing any more."""
    by = f"{name}/{change.version}" if change.version else "no version"
    replaced = {"cellscan.replaced_by": by, "cellscan.replaced_at": change.at}
    if change.action != "restored":
        return {"cellscan.promotion": "replaced", **replaced}
    told = f"{by} was restored in its place"
    return {"cellscan.promotion": "rolled back", REASON_TAG: told, **_when(change.at, change.host), **replaced}


def _when(at: str, where: str) -> dict[str, str]:
    return {"cellscan.promotion_at": at, "cellscan.promotion_host": where}


def _tag(client: MlflowClient, name: str, version: str, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


@contextmanager
def _unless_deleted() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if not is_absent(error):
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
    now_it_is = f"{known.name}/{taken.version}" if taken.version else "no version"
    then = f"{known.name}/{known.current}" if known.current else "no version"
    return (
        f"{now_it_is} was made the champion meanwhile ({taken.action} at {taken.at}), where {then} was before: "
        "nothing was changed; give the command again to have it judged anew"
    )
