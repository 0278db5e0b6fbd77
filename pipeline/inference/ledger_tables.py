"""The table of the ledger: made where it is missing, and filled from the one that earlier releases kept."""

import re
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from pipeline.errors import ConfigError
from pipeline.sources.catalog.engine import reading, writing

SCHEMA = 1

_METADATA = sql.MetaData()

# One row a volume, model version (named together with the digest of its bundle) and digest of its whole experiment.
# `attempts` counts claims and only grows, so that it tells a worker whose lease was taken from the one that has it now;
# `failures` are those that ended badly. Times are seconds since 1970 by the database's clock.
rows = sql.Table(
    "scan_detection",
    _METADATA,
    sql.Column("volume_id", sql.String(64), primary_key=True),
    sql.Column("model", sql.String(200), primary_key=True),
    sql.Column("config", sql.String(16), primary_key=True),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False, default=""),
    sql.Column("result", sql.Text, nullable=False, default=""),
    sql.Column("detections", sql.Integer, nullable=False, default=0),
    sql.Column("windows", sql.Integer, nullable=False, default=0),
    sql.Column("background", sql.Integer, nullable=False, default=0),
    sql.Column("attempts", sql.Integer, nullable=False, default=0),
    sql.Column("failures", sql.Integer, nullable=False, default=0),
    sql.Column("owner", sql.String(200), nullable=False, default=""),
    sql.Column("lease_until", sql.Double),
    sql.Column("failed_at", sql.Double),
)
sql.Index("scan_detection_by_owner", rows.c.owner)

# Runs whose workers, wherever they are, are to stop.
cancelled = sql.Table("scan_detection_cancelled", _METADATA, sql.Column("run", sql.String(32), primary_key=True))

_version = sql.Table("scan_detection_schema", _METADATA, sql.Column("version", sql.Integer, primary_key=True))

# Of earlier releases, which had one worker; a process that died left `running`.
_former = sql.Table(
    "detection_ledger",
    sql.MetaData(),
    sql.Column("volume_id", sql.String(64), primary_key=True),
    sql.Column("model", sql.String(200), primary_key=True),
    sql.Column("status", sql.String(16)),
    sql.Column("reason", sql.Text),
    sql.Column("detections", sql.Integer),
    sql.Column("attempts", sql.Integer),
)
NO_CONFIG = ""  # of rows from then, until a worker of their model says which experiment it has


def make_tables(engine: Engine) -> None:
    """Make the tables that are missing, and take over the rows of an earlier release. Several processes may do so.

    Raises:
        ConfigError: the tables were made by a newer release.
    """
    with reading(engine) as connection:
        if _known_version(connection) == SCHEMA:
            return
    with writing(engine) as connection:
        if _known_version(connection) == SCHEMA:
            return
        _METADATA.create_all(connection)
        connection.execute(sql.insert(_version), {"version": SCHEMA})
        if sql.inspect(connection).has_table(_former.name):
            _take_over(connection)


def now(engine: Engine) -> sql.ColumnElement[float]:
    """Seconds since 1970 by the database's clock: that of a server, or of the one machine that has the file."""
    postgresql = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    sqlite = "((julianday('now') - 2440587.5) * 86400.0)"
    return sql.literal_column(postgresql if engine.dialect.name == "postgresql" else sqlite, sql.Double)


def folder_of(model: str, config: str = NO_CONFIG) -> str:
    """The name of the folder in which the results of a model lie."""
    plain = re.sub(r"[^\w.-]", "-", model)
    return f"{plain}-{config[:8]}" if config else plain


def result_of(folder: str, volume_id: str) -> str:
    """Where a result lies, relative to the folder of all detections."""
    return f"{folder}/{volume_id}.parquet"


def _known_version(connection: Connection) -> int | None:
    if not sql.inspect(connection).has_table(_version.name):
        return None
    version = connection.execute(sql.select(sql.func.max(_version.c.version))).scalar()
    if version is not None and version > SCHEMA:
        raise ConfigError(
            f"the ledger of detections was made by a newer cellscan (its tables are of version {version}, this release "
            f"knows {SCHEMA}): upgrade cellscan, or name another database in CELLSCAN_CATALOG_URL"
        )
    return None if version is None else int(version)


def _take_over(connection: Connection) -> None:
    taken = [_taken_over(row) for row in connection.execute(sql.select(_former))]
    if taken:
        connection.execute(sql.insert(rows), taken)
    _former.drop(connection)


def _taken_over(row: sql.Row[Any]) -> dict[str, str | int]:
    running, done = row.status == "running", row.status == "done"
    return {
        "volume_id": row.volume_id,
        "model": row.model,
        "config": NO_CONFIG,
        "state": "pending" if running else row.status,
        "reason": row.reason,
        "result": result_of(folder_of(row.model), row.volume_id) if done else "",
        "detections": row.detections,
        "attempts": row.attempts,
        "failures": 0 if done else row.attempts - running,
    }
