"""The catalog: what became of every file of every archive, in SQL tables.

Paths may name patients, so they live here and on the user's own screen only.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from pipeline.settings import Settings
from pipeline.sources.catalog import saving
from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.engine import open_engine, reading, writing
from pipeline.sources.catalog.records import AnnotationRecord, FileOutcome, FileRecord, VolumeRecord
from pipeline.sources.catalog.rows import annotation_records, file_records, located, tally, within
from pipeline.sources.catalog.schema import make_tables
from pipeline.volumes import Volume
from pipeline.volumes.store import VolumeStore


class Catalog:
    """Files, the volumes that they became, and who annotates these.

    Args:
        url: SQLAlchemy URL; tables (and a SQLite file's folder) are made when they are missing.
        store: where volumes are read from; by default the store that they were put in.

    Raises:
        ConfigError: the tables were made by a newer release, or the database's driver is missing.
    """

    def __init__(self, url: str, store: VolumeStore | None = None) -> None:
        self.engine = open_engine(url)
        self._store = store
        try:
            make_tables(self.engine)
        except BaseException:
            self.engine.dispose()
            raise

    @classmethod
    def of(cls, settings: Settings) -> "Catalog":
        return cls(settings.catalog_url, VolumeStore(settings.volumes))

    def volumes(self, root: Path | None = None, ids: Iterable[str] | None = None) -> list[Volume]:
        """Volumes read from files below ``root`` (all by default), ordered by path; or those of ``ids``, as given.

        Raises:
            SourceError: a volume is gone from the store.
        """
        if ids is not None and self._store is not None:  # of workers, which need no database for it
            return [self._store.get(volume_id) for volume_id in ids]
        with reading(self.engine) as connection:
            wanted = _ids(connection, root) if ids is None else list(ids)
            stores = {} if self._store is not None else _stores(connection, wanted)
        return [(self._store or stores[volume_id]).get(volume_id) for volume_id in wanted]

    def volume_ids(self, root: Path | None = None) -> list[str]:
        """Ids of the volumes that were read from files below ``root``, ordered by the first of these files."""
        with reading(self.engine) as connection:
            return _ids(connection, root)

    def files(self, root: Path | None = None) -> list[FileOutcome]:
        """Every known file below ``root``, ordered by path; without ``root`` all, by absolute path."""
        base = None if root is None else root.expanduser().resolve()
        return [record.relative_to(base) for record in self.records(root).values()]

    def summary(self) -> dict[str, int]:
        """How many volumes, files, and files of each outcome."""
        with reading(self.engine) as connection:
            by_outcome, _ = tally(connection)
            volumes = connection.execute(sql.select(sql.func.count()).where(t.volumes.c.files > 0)).scalar_one()
        return {"volumes": int(volumes), "files": sum(by_outcome.values()), **by_outcome}

    def records(self, root: Path | None = None) -> dict[str, FileRecord]:
        """The rows below ``root``, by absolute path, in order."""
        with reading(self.engine) as connection:
            records = [one for where in within(t.files.c.path, root) for one in file_records(connection, where)]
        return {record.path: record for record in records}

    def annotations(self, root: Path | None = None) -> dict[str, AnnotationRecord]:
        """Who annotates the volumes whose image files lie below ``root``, by ``volume_id``."""
        mine = t.annotations.c.volume.in_(sql.select(located(root).subquery().c.volume))
        with reading(self.engine) as connection:
            return {record.volume_id: record for record in annotation_records(connection, mine)}

    def save(
        self,
        files: Sequence[FileRecord] = (),
        volumes: Sequence[VolumeRecord] = (),
        annotations: Sequence[AnnotationRecord] = (),
        withdrawn: Sequence[str] = (),
    ) -> None:
        """Write rows, replacing those of the same path or volume, in one transaction; saving again changes nothing.

        Args:
            files: their ``volume_ids`` replace what the same file became before.
            volumes: put in before the files that name them.
            annotations: one a volume; it replaces what was said of the volume before.
            withdrawn: ids of volumes that nobody annotates any more; ones that are not known are left out.

        Raises:
            ValueError: a file or an annotation names a volume that was never saved.
        """
        with writing(self.engine) as connection:
            saving.save(connection, files, volumes, annotations, withdrawn)

    def forget(self, paths: Sequence[str]) -> None:
        """Drop the rows of files that are gone; volumes without files are kept, but no longer listed."""
        with writing(self.engine) as connection:
            saving.forget(connection, paths)

    def enter_archive(self, root: Path) -> None:
        """Note that ``root`` is ingested, for `cellscan catalog summary`."""
        with writing(self.engine) as connection:
            saving.enter_archive(connection, str(root.expanduser().resolve()))

    def close(self) -> None:
        self.engine.dispose()


def _ids(connection: Connection, root: Path | None) -> list[str]:
    there = located(root).subquery()
    query = (
        sql.select(t.volumes.c.volume_id)
        .join(there, there.c.volume == t.volumes.c.number)
        .group_by(t.volumes.c.number, t.volumes.c.volume_id)
        .order_by(sql.func.min(there.c.path), t.volumes.c.number)
    )
    return list(connection.execute(query).scalars())


def _stores(connection: Connection, ids: Sequence[str]) -> dict[str, VolumeStore]:
    stores: dict[str, VolumeStore] = {}
    for chunk in saving.chunks(ids):
        query = sql.select(t.volumes.c.volume_id, t.volumes.c.store).where(t.volumes.c.volume_id.in_(chunk))
        stores.update((volume_id, VolumeStore(Path(root))) for volume_id, root in connection.execute(query))
    return stores
