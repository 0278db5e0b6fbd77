"""Which volume was detected on by which model version, and how it went. One row each; it survives a kill."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    create_engine,
    event,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline import process as process_name

Status = Literal["pending", "running", "done", "quarantined"]

_METADATA = MetaData()
_ROWS = Table(
    "detection_ledger",
    _METADATA,
    Column("volume_id", String(64), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("status", String(16), nullable=False, index=True),
    Column("reason", String, nullable=False, default=""),
    Column("detections", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("worker", String(200), nullable=False, default=""),
    Column("changed_at", DateTime, nullable=False),
)


@dataclass(frozen=True)
class LedgerRow:
    volume_id: str
    status: Status
    reason: str
    detections: int
    attempts: int


class Ledger:
    """The rows of one model: ``model`` names a version together with the digest of its weights and settings.

    A volume is claimed before it is worked on. A claim whose worker died is released when the next run starts: at
    once where that can be seen (the same host), after `lease` where it cannot. A volume that failed or took its worker
    down `max_attempts` times is quarantined rather than tried for ever.
    """

    max_attempts = 3
    lease = timedelta(hours=1)

    def __init__(self, url: str, model: str) -> None:
        self.model = model
        self._engine = _engine(url)
        _METADATA.create_all(self._engine)

    def enter(self, volume_ids: Iterable[str]) -> None:
        """Add volumes that have no row yet, as pending."""
        rows = [
            {"volume_id": v, "model": self.model, "status": "pending", "reason": "", "changed_at": _now()}
            for v in volume_ids
        ]
        if not rows:
            return
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with self._engine.begin() as connection:
            connection.execute(insert(_ROWS).on_conflict_do_nothing(), rows)

    def release_dead(self) -> int:
        """Make volumes that dead workers of this host left running pending again (or quarantine them)."""
        released = 0
        with self._engine.begin() as connection:
            running = connection.execute(self._mine().where(_ROWS.c.status == "running")).all()
            for row in running:
                if self._abandoned(row):
                    self._return(connection, row.volume_id, row.attempts, "its worker died")
                    released += 1
        return released

    def claim(self, volume_id: str) -> bool:
        """Take a pending volume; false if another worker was faster or it is done."""
        taken = (
            update(_ROWS)
            .where(_ROWS.c.model == self.model, _ROWS.c.volume_id == volume_id, _ROWS.c.status == "pending")
            .values(status="running", worker=_worker(), attempts=_ROWS.c.attempts + 1, changed_at=_now())
        )
        with self._engine.begin() as connection:
            return connection.execute(taken).rowcount == 1

    def finish(self, volume_id: str, detections: int) -> None:
        with self._engine.begin() as connection:
            self._set(connection, volume_id, "done", "", detections)

    def quarantine(self, volume_id: str, reason: str) -> None:
        with self._engine.begin() as connection:
            self._set(connection, volume_id, "quarantined", reason)

    def give_back(self, volume_id: str, reason: str) -> None:
        """What failed for a reason that may pass: to be tried by a later run, unless it was tried often enough."""
        with self._engine.begin() as connection:
            row = connection.execute(self._mine().where(_ROWS.c.volume_id == volume_id)).one()
            self._return(connection, volume_id, row.attempts, reason)

    def reopen(self, volume_id: str) -> None:
        """Not failed: the result is no longer on disk, or the user stopped the run. It does not count as an attempt."""
        with self._engine.begin() as connection:
            self._set(connection, volume_id, "pending", "")
            mine = (_ROWS.c.model == self.model) & (_ROWS.c.volume_id == volume_id) & (_ROWS.c.attempts > 0)
            connection.execute(update(_ROWS).where(mine).values(attempts=_ROWS.c.attempts - 1))

    def rows(self, volume_ids: Sequence[str]) -> dict[str, LedgerRow]:
        """Rows of the named volumes, by volume id."""
        wanted = set(volume_ids)
        with self._engine.connect() as connection:
            found = connection.execute(self._mine()).all()
        return {
            r.volume_id: LedgerRow(r.volume_id, r.status, r.reason, r.detections, r.attempts)
            for r in found
            if r.volume_id in wanted
        }

    def close(self) -> None:
        self._engine.dispose()

    def _abandoned(self, row: Any) -> bool:
        host, _, process = row.worker.partition("|")
        if host == process_name.host():
            return not process_name.is_alive(process)
        return bool(_now() - row.changed_at > self.lease)

    def _return(self, connection: Connection, volume_id: str, attempts: int, reason: str) -> None:
        if attempts >= self.max_attempts:
            self._set(connection, volume_id, "quarantined", f"{reason} (tried {attempts} times)")
        else:
            self._set(connection, volume_id, "pending", reason)

    def _mine(self) -> Select[Any]:
        return select(_ROWS).where(_ROWS.c.model == self.model)

    def _set(self, connection: Connection, volume_id: str, status: Status, reason: str, detections: int = 0) -> None:
        connection.execute(
            update(_ROWS)
            .where(_ROWS.c.model == self.model, _ROWS.c.volume_id == volume_id)
            .values(status=status, reason=reason, detections=detections, changed_at=_now())
        )


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _wait_for_others(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=30000")

    return engine


def _worker() -> str:
    return f"{process_name.host()}|{process_name.this_process()}"


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
