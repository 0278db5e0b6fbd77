"""Which volume was detected on by which model version, and how it went. One row each; it survives a kill."""

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
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

    A volume is claimed before it is worked on. A claim whose worker died is given up when the next run on the same
    host starts; a volume that took a worker down twice is quarantined rather than tried for ever.
    """

    max_attempts = 3

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
                if _alive(row.worker):
                    continue
                worn_out = row.attempts >= self.max_attempts
                reason = f"its worker died {row.attempts} times" if worn_out else ""
                self._set(connection, row.volume_id, "quarantined" if worn_out else "pending", reason)
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

    def reopen(self, volume_id: str) -> None:
        """A result that is no longer on disk has to be made again."""
        with self._engine.begin() as connection:
            self._set(connection, volume_id, "pending", "")

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
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _alive(worker: str) -> bool:
    """Whether a worker still runs; one on another host counts as alive, since nobody here can tell."""
    host, pid, started = worker.rsplit(":", 2)
    return host != socket.gethostname() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process started, so that a reused process id is not taken for it; empty if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rsplit(")", 1)[1].split()[19]
    except OSError:
        return _answers(pid)


def _answers(pid: int) -> str:
    """Where there is no /proc: whether the process takes a signal."""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "0"


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
