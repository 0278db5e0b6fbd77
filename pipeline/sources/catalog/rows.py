"""Rows below a folder, and rows as records."""

from collections import defaultdict
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.records import OUTCOMES, AnnotationRecord, FileRecord

_FILE_FIELDS = ("path", "size", "mtime_ns", "reader", "kind", "outcome", "reason", "digest", "series", "instance")


def below(path: sql.ColumnElement[str], root: Path | None) -> sql.ColumnElement[bool]:
    """Whether a path lies below ``root``: one range of an index. ``root`` itself does not."""
    if root is None:
        return sql.true()
    base = _base(root)
    return (path > base + "/") & (path < base + "0")  # "0" follows "/"


def within(path: sql.ColumnElement[str], root: Path | None) -> list[sql.ColumnElement[bool]]:
    """``root`` itself, and then what lies below it, as a file and an archive file have it: one range each."""
    return [below(path, root)] if root is None else [path == _base(root), below(path, root)]


def located(root: Path | None) -> sql.Select[tuple[int, str]]:
    """Numbers of the volumes with an image file within ``root``, each with such a path (or several)."""
    found = sql.select(t.places.c.volume, t.places.c.path).where(below(t.places.c.path, root))
    if root is None:
        return found
    itself = (
        sql.select(t.volume_files.c.volume, t.files.c.path)
        .join(t.files, t.files.c.id == t.volume_files.c.file)
        .where(t.files.c.path == _base(root), t.files.c.kind == "image")
    )
    both = found.union_all(itself).subquery()
    return sql.select(both.c.volume, both.c.path)


def file_records(connection: Connection, where: sql.ColumnElement[bool]) -> list[FileRecord]:
    """The rows of the file table for which ``where`` holds, ordered by path."""
    columns = [t.files.c[name] for name in _FILE_FIELDS]
    volumes = _volumes_of_files(connection, where)
    rows = connection.execute(sql.select(t.files.c.id, *columns).where(where).order_by(t.files.c.path))
    return [FileRecord(*row[1:], volume_ids=volumes.get(row[0], ())) for row in rows]  # type: ignore[misc]


def annotation_records(connection: Connection, where: sql.ColumnElement[bool]) -> list[AnnotationRecord]:
    """The rows of the annotation table for which ``where`` holds, ordered by volume."""
    a, label = t.annotations.c, t.annotation_labels
    query = (
        sql.select(t.volumes.c.volume_id, t.annotations).join(t.volumes, t.volumes.c.number == a.volume).where(where)
    )
    counts = sql.select(label).join(t.annotations, a.volume == label.c.volume).where(where).order_by(label.c.label)
    labels: dict[int, dict[str, int]] = defaultdict(dict)
    for volume, name, count in connection.execute(counts):
        labels[volume][name] = count
    return [
        AnnotationRecord(row.volume_id, row.path, row.format, row.objects, labels.get(row.volume, {}), row.from_points)
        for row in connection.execute(query.order_by(t.volumes.c.volume_id))
    ]


def tally(connection: Connection) -> tuple[dict[str, int], int]:
    """How many files ended with each outcome, and their bytes."""
    rows = connection.execute(sql.select(t.tally)).all()
    files = {row.outcome: int(row.files) for row in rows}
    return {outcome: files.get(outcome, 0) for outcome in OUTCOMES}, sum(int(row.bytes) for row in rows)


def count_outcomes(connection: Connection, where: sql.ColumnElement[bool]) -> dict[str, int]:
    """How many files, of those for which ``where`` holds, ended with each outcome."""
    total = connection.execute(sql.select(sql.func.count()).select_from(t.files).where(where)).scalar_one()
    # Counting those that were ingested would read every row; the others have an index of their own.
    others = sql.select(t.files.c.outcome, sql.func.count()).where(t.NOT_INGESTED, where).group_by(t.files.c.outcome)
    found = {outcome: int(count) for outcome, count in connection.execute(others)}
    found["ingested"] = int(total) - sum(found.values())
    return {outcome: found.get(outcome, 0) for outcome in OUTCOMES}


def _volumes_of_files(connection: Connection, where: sql.ColumnElement[bool]) -> dict[int, tuple[str, ...]]:
    query = (
        sql.select(t.files.c.id, t.volumes.c.volume_id)
        .join(t.volume_files, t.volume_files.c.file == t.files.c.id)
        .join(t.volumes, t.volumes.c.number == t.volume_files.c.volume)
        .where(where)
        .order_by(t.files.c.id, t.volume_files.c.position)
    )
    found: dict[int, tuple[str, ...]] = {}
    for number, volume_id in connection.execute(query):
        found[number] = (*found.get(number, ()), volume_id)
    return found


def _base(root: Path) -> str:
    return str(root.expanduser().resolve()).rstrip("/")
