"""The scans of an archive in few words, for who looks again and again: one query, and no volume is opened."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.catalog import Catalog
from pipeline.sources.catalog.engine import reading
from pipeline.sources.catalog.rows import located
from pipeline.volumes.store import volume_name


@dataclass(frozen=True)
class FoundScan:
    """``series`` is a digest; ``path`` is the first of the scan's image files, absolute: it may name a patient."""

    volume_id: str
    modality: str
    shape: tuple[int, ...]
    series: str | None
    path: str

    @property
    def dims(self) -> int:
        return len(self.shape)

    @property
    def name(self) -> str:
        """Safe to show, as `Volume.name`."""
        return volume_name(self.modality, self.volume_id, self.shape)


def found_scans(catalog: Catalog, root: Path | None = None) -> list[FoundScan]:
    """Scans read from files within ``root`` (all by default), ordered by path, as `Catalog.volume_ids`."""
    v, there = t.volumes.c, located(root).subquery()
    path = sql.func.min(there.c.path)
    query = (
        sql.select(v.volume_id, v.modality, v.shape, v.series, path)
        .join(there, there.c.volume == v.number)
        .group_by(v.number)
        .order_by(path, v.number)
    )
    with reading(catalog.engine) as connection:
        rows = connection.execute(query).all()
    return [FoundScan(one, modality, tuple(shape), series, first) for one, modality, shape, series, first in rows]


def mark(catalog: Catalog) -> tuple[int, int]:
    """Changes whenever a scan may have come, changed or gone, and costs no more for a large catalog.

    A file that comes gets the next number, and one that changes or goes leaves a row of what it was.
    """
    with reading(catalog.engine) as connection:
        newest, changed = (
            connection.execute(sql.select(sql.func.coalesce(sql.func.max(number), 0))).scalar_one()
            for number in (t.files.c.id, t.past.c.id)
        )
    return int(newest), int(changed)
