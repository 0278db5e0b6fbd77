"""The tables are there and of this release's layout before anything is read or written."""

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from pipeline.errors import ConfigError
from pipeline.sources.catalog.engine import reading, writing
from pipeline.sources.catalog.tables import SCHEMA, metadata, schema_version

_FIRST_LAYOUT = {"file": {"path", "volume_id", "annotated_by"}, "volume": {"volume_id", "store"}}


def make_tables(engine: Engine) -> None:
    """Make the tables that are missing. Several processes may do so at once.

    The catalog is a cache of what lies in the archives: tables of an older layout are replaced, and the next ingest
    reads the files again. Other tables of the database (the ledger of detections) are left alone.

    Raises:
        ConfigError: the tables were made by a newer release, or by another program.
    """
    if _known_version(engine) == SCHEMA:
        return
    with writing(engine) as connection:
        _replace_older(connection)
        metadata.create_all(connection)
        if connection.execute(sql.select(schema_version)).first() is None:
            connection.execute(sql.insert(schema_version), {"version": SCHEMA})


def _known_version(engine: Engine) -> int | None:
    with reading(engine) as connection:
        there = sql.inspect(connection).has_table(schema_version.name)
        return _version(connection) if there else None


def _version(connection: Connection) -> int | None:
    version = connection.execute(sql.select(sql.func.max(schema_version.c.version))).scalar()
    if version is not None and version > SCHEMA:
        raise ConfigError(
            f"the catalog was made by a newer cellscan (its tables are of version {version}, this release knows "
            f"{SCHEMA}): upgrade cellscan, or name another database in CELLSCAN_CATALOG_URL"
        )
    return version


def _replace_older(connection: Connection) -> None:
    inspector = sql.inspect(connection)
    if inspector.has_table(schema_version.name):
        if _version(connection) == SCHEMA:
            return
        metadata.drop_all(connection)
        return
    for name in set(inspector.get_table_names()) & set(metadata.tables):
        own = _FIRST_LAYOUT.get(name)
        if own is None or not own <= {column["name"] for column in inspector.get_columns(name)}:
            raise ConfigError(
                f"the database already holds a table {name!r} that is not cellscan's: name another database in "
                "CELLSCAN_CATALOG_URL"
            )
        sql.Table(name, sql.MetaData()).drop(connection)
