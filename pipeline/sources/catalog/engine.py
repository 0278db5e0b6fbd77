"""The database: one way to open it, to read from it, and to write to it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from pipeline.errors import ConfigError

_WAIT_SECONDS = 60.0
_PAGE_BYTES = 16384  # of a new file; a search through all paths takes 3/4 of the time that it takes with 4096
_READING = "cellscan_reading"
_WRITING = 0x63656C6C  # any number will do, as long as nobody else locks by it


def open_engine(url: str) -> Engine:
    """An engine for the catalog's database; SQLite in WAL mode, waiting a minute for other writers.

    A transaction holds SQLite's write lock from its beginning, since one that first reads and then writes fails at
    once, without waiting, when another process wrote in between; but not one of `reading`.

    Raises:
        ConfigError: PostgreSQL's driver is not installed.
    """
    address = sql.make_url(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite(address)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    try:
        return sql.create_engine(address, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ConfigError(f"the catalog's database needs the package {error.name}: pip install {error.name}") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database, that neither waits for a writer nor keeps one waiting."""
    level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect() as connection:
        connection.execution_options(**{_READING: True}, **level)
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction: all of it, or on an error nothing. One writer at a time, as SQLite has it anyway."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_WRITING)))
        yield connection


def _sqlite(address: sql.URL) -> Engine:
    if address.database and address.database != ":memory:":
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(address, connect_args={"timeout": _WAIT_SECONDS})

    @sql.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # sqlite3 would begin a transaction late, and none for changes of tables
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-65536")  # KiB

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        deferred = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: Any) -> None:
    # SQLite does not wait for the lock that this takes, so that of several first openings all but one would fail.
    import sqlite3

    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
