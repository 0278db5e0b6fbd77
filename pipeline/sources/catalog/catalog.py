"""The catalog: what became of every file, in one SQL table. SQLite by default, PostgreSQL by URL.

Paths may name patients, so they live here and on the user's own screen only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql

from pipeline.settings import Settings
from pipeline.volumes import Volume
from pipeline.volumes.store import VolumeStore

Outcome = Literal["ingested", "ignored", "quarantined"]
ItemKind = Literal["image", "annotation", "other"]

# Compared byte by byte in every database, so that "everything below a folder" is one range of the index.
_PATH = sql.Text().with_variant(sql.Text(collation="C"), "postgresql")
_tables = sql.MetaData()
_files = sql.Table(
    "file",
    _tables,
    sql.Column("path", _PATH, primary_key=True),
    sql.Column("size", sql.BigInteger, nullable=False),
    sql.Column("mtime_ns", sql.BigInteger, nullable=False),
    sql.Column("reader", sql.Integer, nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("outcome", sql.String(16), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("volume_id", sql.String(64), index=True),
    sql.Column("series", sql.String(64), index=True),
    sql.Column("annotated_by", _PATH),
)
_volumes = sql.Table(
    "volume", _tables, sql.Column("volume_id", sql.String(64), primary_key=True), sql.Column("store", sql.Text)
)
_CHUNK = 500


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. ``path`` is relative to the folder that was asked about."""

    path: str
    outcome: Outcome
    reason: str
    volume_id: str | None
    kind: ItemKind


@dataclass(frozen=True)
class FileRecord:
    """One row of the catalog. ``series`` is a digest; ``annotated_by`` the path of the file that annotates it."""

    path: str
    size: int
    mtime_ns: int
    reader: int
    kind: ItemKind
    outcome: Outcome
    reason: str = ""
    volume_id: str | None = None
    series: str | None = None
    annotated_by: str | None = None

    def relative_to(self, root: Path | None) -> FileOutcome:
        """The outcome, by path relative to ``root`` (the file's name where ``root`` is the file itself)."""
        path = Path(self.path)
        name = path.name if path == root else (self.path if root is None else path.relative_to(root).as_posix())
        return FileOutcome(name, self.outcome, self.reason, self.volume_id, self.kind)


class Catalog:
    """Files and the volumes that they became.

    Args:
        url: SQLAlchemy URL; tables (and a SQLite file's folder) are made when they are missing.
        store: where volumes are read from; by default the store that they were put in.
    """

    def __init__(self, url: str, store: VolumeStore | None = None) -> None:
        self.engine = open_engine(url)
        self._store = store
        _tables.create_all(self.engine)

    @classmethod
    def of(cls, settings: Settings) -> "Catalog":
        return cls(settings.catalog_url, VolumeStore(settings.volumes))

    def volumes(self, root: Path | None = None, ids: Iterable[str] | None = None) -> list[Volume]:
        """Volumes read from files below ``root`` (all by default), ordered by path; or those of ``ids``, as given.

        Raises:
            SourceError: a volume is gone from the store.
        """
        wanted = self._ids(root) if ids is None else list(ids)
        stores = {} if self._store is not None else self._stores()
        return [(self._store or stores[volume_id]).get(volume_id) for volume_id in wanted]

    def files(self, root: Path | None = None) -> list[FileOutcome]:
        """Every known file below ``root``, ordered by path; without ``root`` all, by absolute path."""
        base = None if root is None else root.expanduser().resolve()
        return [record.relative_to(base) for record in self.records(root).values()]

    def summary(self) -> dict[str, int]:
        """How many volumes, files, and files of each outcome."""
        counts = sql.select(_files.c.outcome, sql.func.count()).group_by(_files.c.outcome)
        volumes = sql.select(sql.func.count(sql.distinct(_files.c.volume_id))).where(_files.c.kind == "image")
        with self.engine.connect() as connection:
            by_outcome = {outcome: int(n) for outcome, n in connection.execute(counts)}
            total = int(connection.execute(volumes).scalar_one())
        outcomes = {name: by_outcome.get(name, 0) for name in ("ingested", "ignored", "quarantined")}
        return {"volumes": total, "files": sum(by_outcome.values()), **outcomes}

    def records(self, root: Path | None = None) -> dict[str, FileRecord]:
        """The rows below ``root``, by absolute path, in order."""
        query = sql.select(_files).where(_below(root)).order_by(_files.c.path)
        with self.engine.connect() as connection:
            rows = [FileRecord(**row) for row in connection.execute(query).mappings()]
        return {record.path: record for record in rows}

    def save(self, records: Sequence[FileRecord], store: VolumeStore) -> None:
        """Write rows, replacing those of the same paths, in one transaction."""
        rows = [vars(record) for record in records]
        ids = {record.volume_id for record in records if record.volume_id and record.kind == "image"}
        with self.engine.begin() as connection:
            for chunk in _chunks(rows):
                connection.execute(sql.delete(_files).where(_files.c.path.in_([row["path"] for row in chunk])))
                connection.execute(sql.insert(_files), chunk)
            for chunk in _chunks(sorted(ids)):
                connection.execute(sql.delete(_volumes).where(_volumes.c.volume_id.in_(chunk)))
                places = [{"volume_id": one, "store": str(store.root)} for one in chunk]
                connection.execute(sql.insert(_volumes), places)

    def forget(self, paths: Sequence[str]) -> None:
        """Drop the rows of files that are gone."""
        with self.engine.begin() as connection:
            for chunk in _chunks(list(paths)):
                connection.execute(sql.delete(_files).where(_files.c.path.in_(chunk)))

    def close(self) -> None:
        self.engine.dispose()

    def _ids(self, root: Path | None) -> list[str]:
        query = (
            sql.select(_files.c.volume_id)
            .where(_below(root), _files.c.kind == "image", _files.c.volume_id.is_not(None))
            .order_by(_files.c.path)
        )
        with self.engine.connect() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def _stores(self) -> dict[str, VolumeStore]:
        with self.engine.connect() as connection:
            rows = connection.execute(sql.select(_volumes)).all()
        return {volume_id: VolumeStore(Path(root)) for volume_id, root in rows}


def open_engine(url: str) -> sql.Engine:
    """An engine for the catalog's database; SQLite in WAL mode, waiting a minute for other writers."""
    address = sql.make_url(url)
    if address.get_backend_name() != "sqlite":
        return sql.create_engine(address)
    if address.database and address.database != ":memory:":
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(address, connect_args={"timeout": 60})

    @sql.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _below(root: Path | None) -> sql.ColumnElement[bool]:
    if root is None:
        return sql.true()
    base = str(root.expanduser().resolve()).rstrip("/")
    return (_files.c.path == base) | ((_files.c.path > base + "/") & (_files.c.path < base + "0"))  # "0" follows "/"


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
