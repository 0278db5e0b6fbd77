"""What follows from the rows of a volume's files: how many, where, how they fared, and what it was made from."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.records import OUTCOMES

_CHUNK = 200


def refresh(connection: Connection, touched: set[int], made: set[int], now: int) -> None:
    """Bring the standing of ``touched`` volumes up to date, and note how those in ``made`` came about."""
    ordered = sorted(touched)
    for start in range(0, len(ordered), _CHUNK):
        _refresh(connection, ordered[start : start + _CHUNK], made, now)


def source_digest(digests: Iterable[str | None]) -> str | None:
    """One digest for the bytes that a volume came from; copies count once. `None` where a file's is not known."""
    known = set(digests)
    if not known or None in known:
        return None
    return hashlib.sha256("\n".join(sorted(str(one) for one in known)).encode()).hexdigest()


def _refresh(connection: Connection, volumes: list[int], made: set[int], now: int) -> None:
    files = _files_of(connection, volumes)
    annotated = sql.select(t.annotations.c.volume).where(t.annotations.c.volume.in_(volumes))
    has = set(connection.execute(annotated).scalars())
    rows = [{"at": volume, **_standing(files[volume]), "annotated": volume in has} for volume in volumes]
    connection.execute(sql.update(t.volumes).where(t.volumes.c.number == sql.bindparam("at")), rows)
    connection.execute(sql.delete(t.places).where(t.places.c.volume.in_(volumes)))
    places = [{"path": path, "volume": volume} for volume in volumes for path in _places(files[volume])]
    if places:
        connection.execute(sql.insert(t.places), places)
    _note_provenance(connection, {volume: files[volume] for volume in volumes if volume in made}, now)


def _files_of(connection: Connection, volumes: list[int]) -> dict[int, list[Any]]:
    query = (
        sql.select(
            t.volume_files.c.volume,
            t.files.c.path,
            t.files.c.kind,
            t.files.c.outcome,
            t.files.c.digest,
            t.files.c.reader,
        )
        .join(t.files, t.files.c.id == t.volume_files.c.file)
        .where(t.volume_files.c.volume.in_(volumes))
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.volume].append(row)
    return found


def _standing(files: list[Any]) -> dict[str, Any]:
    worst = max((OUTCOMES.index(file.outcome) for file in files), default=0)
    return {"files": sum(file.kind == "image" for file in files), "outcome": OUTCOMES[worst]}


def _places(files: list[Any]) -> list[str]:
    """The first image file in each folder."""
    first: dict[str, str] = {}
    for path in sorted(file.path for file in files if file.kind == "image"):
        first.setdefault(path.rpartition("/")[0], path)
    return list(first.values())


def _note_provenance(connection: Connection, made: dict[int, list[Any]], now: int) -> None:
    """One row for each way in which a volume was made; made again in the same way, it has the same row."""
    rows = []
    for volume, files in made.items():
        images = [file for file in files if file.kind == "image"]
        source = source_digest(file.digest for file in images) or ""
        for reader in sorted({file.reader for file in images}):
            rows.append({"volume": volume, "made_at": now, "reader": reader, "source": source, "version": _version()})
    if rows:
        insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(t.provenance)
        connection.execute(insert.on_conflict_do_nothing(), rows)


@cache
def _version() -> str:
    return metadata.version("cellscan")
