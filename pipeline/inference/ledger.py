"""Which volume was detected on by which model version, and how it went: one row each, for any number of workers.

A worker *claims* volumes before it works on them. A claim is leased for a while, and longer as long as its worker
lives; when the lease is over, another worker takes the volume. Each claim of a volume has a number, and only who holds
the latest one can end it, so that a worker that was merely slow cannot write a second result. All times are the
database's: machines whose clocks are wrong do no harm.
"""

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from pipeline import process
from pipeline.inference import ledger_tables as tables
from pipeline.inference.heartbeat import Heartbeat
from pipeline.inference.held import Held
from pipeline.inference.ledger_rows import LedgerRow, Open, State
from pipeline.inference.ledger_tables import rows as t
from pipeline.settings import Settings
from pipeline.sources.catalog.away import is_away, outlasting
from pipeline.sources.catalog.engine import open_engine, reading
from pipeline.sources.catalog.saving import chunks

LEASE_SECONDS = 120.0
MAX_FAILURES = 3
_BEATS_A_LEASE = 5
_ENTERED_AT_ONCE = 5000
_FREE: dict[str, str | None] = {"owner": "", "lease_until": None}


@dataclass(frozen=True)
class Claim:
    """The right, and the duty, to detect on one volume; it is to be ended in one of four ways.

    ``part`` is where the result is to be written, which is nobody else's; `finish` puts it in its place. ``failures``
    came before: what perhaps took a worker down is best worked on alone.
    """

    volume_id: str
    attempt: int
    failures: int
    part: Path
    _ledger: "Ledger" = field(repr=False)

    def finish(self, detections: int, windows: int = 0, background: int = 0) -> bool:
        """The whole result lies in ``part``.

        Args:
            detections: how many.
            windows: of the scan.
            background: those of them that were not given to the network.

        Returns:
            Whether it counts; not, and it is gone, where another worker has taken the volume meanwhile.
        """
        return self._ledger._finish(self, {"detections": detections, "windows": windows, "background": background})

    def fail(self, reason: str) -> None:
        """It cannot be detected on: quarantined."""
        self._ledger._end(self, {"state": "quarantined", "reason": reason, "failures": t.c.failures + 1})

    def give_back(self, reason: str) -> None:
        """What failed for a reason that may pass: to be tried by a later run, or quarantined when tried enough."""
        self._ledger._give_back(self, reason)

    def release(self) -> None:
        """Nothing was wrong with it; others may take it at once."""
        self._ledger._end(self, {"state": "pending"})


class Ledger:
    """The rows of one model and experiment, as one worker sees them; a worker is a `Ledger`.

    Volumes on which `MAX_FAILURES` workers failed or died are quarantined rather than tried for ever. A database that
    is away for a moment is asked again.

    Args:
        url: of the database: SQLite for the workers of one machine, PostgreSQL for those of many.
        model: names a version together with the digest of its bundle.
        config: digest of its experiment as this release reads it.
        results: the folder of all detections.
        lease_seconds: after how long without a sign of life a worker is taken for dead.

    Raises:
        ConfigError: the tables were made by a newer release, or the database's driver is missing.
    """

    def __init__(self, url: str, model: str, config: str, results: Path, lease_seconds: float = LEASE_SECONDS) -> None:
        self.model, self.config, self._results = model, config, results
        self._folder = tables.folder_of(model, config)
        self._lease = lease_seconds
        self._owner = f"{process.machine()}|{process.this_process()}|{secrets.token_hex(4)}"
        self._held = Held()  # volumes of claims that are not ended
        self._heartbeat = Heartbeat(self.beat, lease_seconds / _BEATS_A_LEASE)
        self._engine = open_engine(url)
        try:
            self._begin()
        except BaseException:
            self._engine.dispose()
            raise
        self._now = tables.now(self._engine)

    @outlasting
    def _begin(self) -> None:
        tables.make_tables(self._engine)
        self._adopt()

    @classmethod
    def of(cls, settings: Settings, model: str, config: str) -> "Ledger":
        return cls(settings.catalog_url, model, config, settings.detections)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release what this worker has not ended; where the database is away, its lease will."""
        self._heartbeat.stop()
        try:
            with self._engine.begin() as connection:
                connection.execute(sql.update(t).where(t.c.owner == self._owner).values(state="pending", **_FREE))
        except DBAPIError as error:
            if not is_away(error):
                raise
        finally:
            self._engine.dispose()

    @outlasting
    def time(self) -> float:
        """Seconds since 1970 by the database's clock."""
        with reading(self._engine) as connection:
            return float(connection.execute(sql.select(self._now)).scalar_one())

    @outlasting
    def enter(self, volume_ids: Collection[str]) -> None:
        """Add volumes that have no row yet, as pending."""
        # In one order, or two runs that enter the same volumes could wait for each other.
        for some in chunks(sorted(set(volume_ids)), _ENTERED_AT_ONCE):
            new = [{"volume_id": v, "model": self.model, "config": self.config, "state": "pending"} for v in some]
            with self._engine.begin() as connection:
                connection.execute(self._insert(t).on_conflict_do_nothing(), new)

    @outlasting
    def claim(self, volume_ids: Sequence[str], began: float, limit: int = 1) -> list[Claim]:
        """Claim up to ``limit`` of these volumes (some hundreds at most).

        Args:
            volume_ids: which; those that are not to be had are passed over.
            began: when the run began, by `time`: what failed since then is left to a later run.
            limit: how many.

        Returns:
            Claims of pending volumes, and of those whose worker died.
        """
        lapsed = (t.c.state == "claimed") & (t.c.lease_until < self._now) & (t.c.owner != self._owner)
        wanted = sql.select(t.c.volume_id, t.c.state, t.c.attempts, t.c.failures, t.c.owner).where(
            self._mine(), t.c.volume_id.in_(volume_ids), self._claimable(began) | lapsed | self._unheard()
        )
        (self._results / self._folder).mkdir(parents=True, exist_ok=True)
        claims: list[Claim] = []
        try:
            with self._engine.begin() as connection:
                # SQLite has no such lock and needs none: its transactions that write run one after the other.
                locked = wanted.order_by(t.c.volume_id).limit(limit).with_for_update(skip_locked=True)
                claims += filter(None, (self._claim(connection, row) for row in connection.execute(locked).all()))
                self._held.take({claim.volume_id: claim.attempt for claim in claims})
        except BaseException:
            for claim in claims:
                self._held.drop(claim.volume_id, claim.attempt)
            raise
        for claim in claims:
            self._part(claim.volume_id, claim.attempt - 1).unlink(missing_ok=True)
            self._heartbeat.start()
        return claims

    def beat(self) -> None:
        """Lease what this worker has claimed for longer."""
        with self._engine.begin() as connection:
            connection.execute(
                sql.update(t).where(t.c.owner == self._owner).values(lease_until=self._now + self._lease)
            )

    @outlasting
    def expire_dead(self) -> int:
        """End the leases of workers of this machine that died, without waiting; how many."""
        here = f"{process.machine()}|"
        with reading(self._engine) as connection:
            theirs = sql.select(t.c.owner).where(self._mine(), t.c.owner.startswith(here, autoescape=True)).distinct()
            owners = connection.execute(theirs).scalars().all()
        dead = [owner for owner in owners if not process.is_alive(owner.removeprefix(here).partition("|")[0])]
        if not dead:
            return 0
        with self._engine.begin() as connection:
            return connection.execute(sql.update(t).where(t.c.owner.in_(dead)).values(lease_until=0.0)).rowcount

    @outlasting
    def open(self, volume_ids: Collection[str], began: float) -> Open:
        """Which of the volumes a run that began then still has to wait for, in their order."""
        pending, elsewhere = [], []
        claimable = self._claimable(began) | self._unheard()
        waits = sql.case((claimable, True), else_=False).label("waits")
        theirs = (t.c.state == "claimed") & (t.c.owner != self._owner)
        for some in chunks(volume_ids):
            left = self._mine() & t.c.volume_id.in_(some) & (claimable | theirs)
            with reading(self._engine) as connection:
                found = dict(connection.execute(sql.select(t.c.volume_id, waits).where(left)).tuples().all())
            pending += [v for v in some if found.get(v)]
            elsewhere += [v for v in some if found.get(v) is False]
        return Open(tuple(pending), tuple(elsewhere))

    @outlasting
    def rows(self, volume_ids: Collection[str]) -> dict[str, LedgerRow]:
        """Rows of the named volumes, by volume id, in their order."""
        ids, found = list(volume_ids), {}
        with reading(self._engine) as connection:
            for some in chunks(ids):
                for row in connection.execute(sql.select(t).where(self._mine(), t.c.volume_id.in_(some))):
                    found[row.volume_id] = LedgerRow.of(row, self._results)
        return {one: found[one] for one in ids if one in found}

    def reopen(self, volume_ids: Collection[str]) -> None:
        """Make done volumes, whose results are no longer on disk, pending again."""
        self._set(volume_ids, ("done",), {"state": "pending", "failures": 0, "failed_at": None})

    def retry(self, volume_ids: Collection[str]) -> None:
        """Make quarantined volumes, and those that failed before, pending as if they never had failed."""
        anew = {"state": "pending", "reason": "", "failures": 0, "failed_at": None}
        self._set(volume_ids, ("quarantined", "pending"), anew)

    @outlasting
    def cancel(self, run: str) -> None:
        """Have all workers of a run stop before their next volume."""
        with self._engine.begin() as connection:
            connection.execute(self._insert(tables.cancelled).on_conflict_do_nothing(), {"run": run})

    @outlasting
    def is_cancelled(self, run: str) -> bool:
        with reading(self._engine) as connection:
            return (
                connection.execute(sql.select(tables.cancelled).where(tables.cancelled.c.run == run)).first()
                is not None
            )

    def _claim(self, connection: Connection, row: sql.Row[Any]) -> Claim | None:
        """Claim a locked row; `None` where its last worker's death was one too many."""
        failures = row.failures + (row.state == "claimed" and row.owner != self._owner)
        this = sql.update(t).where(self._mine(), t.c.volume_id == row.volume_id)
        if failures >= MAX_FAILURES:
            reason = f"its worker died (tried {failures} times)"
            connection.execute(this.values(state="quarantined", reason=reason, failures=failures, **_FREE))
            return None
        attempt = row.attempts + 1
        leased = {"owner": self._owner, "lease_until": self._now + self._lease}
        connection.execute(this.values(state="claimed", attempts=attempt, failures=failures, **leased))
        return Claim(row.volume_id, attempt, failures, self._part(row.volume_id, attempt), self)

    def _finish(self, claim: Claim, counts: Mapping[str, int]) -> bool:
        try:
            _sync(claim.part)
        except FileNotFoundError:
            if self._holds(claim):
                raise
            return False  # whoever took the volume over removed it
        in_time = self._settle(claim, counts)
        self._held.drop(claim.volume_id, claim.attempt)
        if not in_time:
            claim.part.unlink(missing_ok=True)
        return in_time

    @outlasting
    def _settle(self, claim: Claim, counts: Mapping[str, int]) -> bool:
        result = tables.result_of(self._folder, claim.volume_id)
        done = {"state": "done", "reason": "", "failures": 0, "result": result, **counts}
        settled = self._mine() & (t.c.volume_id == claim.volume_id) & (t.c.attempts == claim.attempt)
        with self._engine.begin() as connection:
            if not self._ended(connection, claim, done):
                # Unless this was done before, and the answer did not arrive.
                asked = sql.select(t.c.volume_id).where(settled, t.c.state == "done")
                return connection.execute(asked).first() is not None
            # Before the row says so to others, and while nobody else can claim the volume.
            if claim.part.exists():  # it is in its place where this was begun before
                claim.part.replace(self._results / result)
                _sync(claim.part.parent)
        return True

    @outlasting
    def _give_back(self, claim: Claim, reason: str) -> None:
        _clear(claim.part)
        with self._engine.begin() as connection:
            mine = self._mine() & (t.c.volume_id == claim.volume_id)
            failures = connection.execute(sql.select(t.c.failures).where(mine)).scalar_one() + 1
            state, told = "pending", reason
            if failures >= MAX_FAILURES:
                state, told = "quarantined", f"{reason} (tried {failures} times)"
            failed = {"state": state, "reason": told, "failures": failures, "failed_at": self._now}
            self._ended(connection, claim, failed)
        self._held.drop(claim.volume_id, claim.attempt)

    @outlasting
    def _end(self, claim: Claim, values: Mapping[str, Any]) -> None:
        _clear(claim.part)
        with self._engine.begin() as connection:
            self._ended(connection, claim, values)
        self._held.drop(claim.volume_id, claim.attempt)

    def _ended(self, connection: Connection, claim: Claim, values: Mapping[str, Any]) -> bool:
        ended = sql.update(t).where(self._is_latest(claim)).values(**_FREE, **values)
        return connection.execute(ended).rowcount == 1

    @outlasting
    def _holds(self, claim: Claim) -> bool:
        with reading(self._engine) as connection:
            return connection.execute(sql.select(t.c.volume_id).where(self._is_latest(claim))).first() is not None

    def _is_latest(self, claim: Claim) -> sql.ColumnElement[bool]:
        latest = (t.c.owner == self._owner) & (t.c.attempts == claim.attempt)
        return self._mine() & (t.c.volume_id == claim.volume_id) & latest

    @outlasting
    def _set(self, volume_ids: Collection[str], states: Sequence[State], values: Mapping[str, Any]) -> None:
        for some in chunks(sorted(volume_ids)):
            those = self._mine() & t.c.volume_id.in_(some) & t.c.state.in_(states)
            with self._engine.begin() as connection:
                connection.execute(sql.update(t).where(those).values(**values))

    def _adopt(self) -> None:
        """Rows from before the experiment had a digest here: the digest in their model's name covers it."""
        former = (t.c.model == self.model) & (t.c.config == tables.NO_CONFIG)
        with reading(self._engine) as connection:
            if connection.execute(sql.select(t.c.volume_id).where(former).limit(1)).first() is None:
                return
        with self._engine.begin() as connection:
            connection.execute(sql.update(t).where(former).values(config=self.config))

    def _unheard(self) -> sql.ColumnElement[bool]:
        """What this worker claimed, without the answer having arrived."""
        return (t.c.owner == self._owner) & t.c.volume_id.not_in(self._held.volumes)

    def _insert(self, table: sql.Table) -> postgresql.Insert | sqlite.Insert:
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)

    def _part(self, volume_id: str, attempt: int) -> Path:
        return self._results / self._folder / f"{volume_id}.{attempt}.part"

    def _mine(self) -> sql.ColumnElement[bool]:
        return (t.c.model == self.model) & (t.c.config == self.config)

    def _claimable(self, began: float) -> sql.ColumnElement[bool]:
        return (t.c.state == "pending") & (t.c.failed_at.is_(None) | (t.c.failed_at <= began))


def _clear(part: Path) -> None:
    # On a disk that nothing can be written to any more, the row is still to be let go of.
    with suppress(OSError):
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """What was written to a file, or to a folder's list of names, outlasts a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
