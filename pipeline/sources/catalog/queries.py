"""Pages of the catalog's volumes and files. A page starts after the last row of the one before, never by counting."""

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from pipeline.errors import ConfigError
from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.catalog import Catalog
from pipeline.sources.catalog.engine import reading
from pipeline.sources.catalog.records import ItemKind, Outcome
from pipeline.sources.catalog.rows import located, within

_T = TypeVar("_T")
_LAST = "\U0010ffff"
_SHOWN = [t.files.c[name] for name in ("path", "outcome", "kind", "size", "reason")]


@dataclass(frozen=True)
class Page(Generic[_T]):
    """``after`` is the cursor of the next page; `None` where this is the last."""

    rows: tuple[_T, ...]
    after: str | None


@dataclass(frozen=True)
class VolumeFilter:
    """Which volumes are listed; what is not given does not count.

    ``outcome`` is the worst of a volume's files (an annotation file of which not everything could be used is
    quarantined). ``root``: with an image file there or below. ``label``: with an annotated object of that label.
    ``part``: holds this text, in upper or lower case.
    """

    modality: str | None = None
    outcome: Outcome | None = None
    annotated: bool | None = None
    root: Path | None = None
    study: str | None = None
    series: str | None = None
    patient_key: str | None = None
    label: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class FileFilter:
    """Which files are listed; ``reason`` is how the reason begins, ``contains`` a part of the path in any case."""

    outcome: Outcome | None = None
    reason: str | None = None
    root: Path | None = None
    contains: str | None = None


@dataclass(frozen=True)
class ListedVolume:
    """One row of the listing. ``objects`` is `None` where nobody annotated the volume."""

    volume_id: str
    modality: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    channels: int
    part: str
    objects: int | None
    patient_key: str
    study: str | None
    series: str | None
    files: int
    outcome: Outcome


@dataclass(frozen=True)
class ListedFile:
    """One row of the listing; ``path`` is absolute."""

    path: str
    outcome: Outcome
    kind: ItemKind
    size: int
    reason: str


def list_volumes(
    catalog: Catalog, wanted: VolumeFilter | None = None, *, limit: int = 50, after: str | None = None
) -> Page[ListedVolume]:
    """Volumes, the latest first.

    Raises:
        ConfigError: ``after`` is no cursor of such a listing.
    """
    v = t.volumes.c
    query = sql.select(t.volumes, t.annotations.c.objects).join(
        t.annotations, t.annotations.c.volume == v.number, isouter=True
    )
    query = query.where(v.files > 0, *_conditions(catalog.engine, wanted or VolumeFilter()))
    if after is not None:
        (last,) = _cursor(after, int)
        query = query.where(v.number < last)
    with reading(catalog.engine) as connection:
        rows = connection.execute(query.order_by(v.number.desc()).limit(limit + 1)).all()
    listed = tuple(_listed(row) for row in rows[:limit])
    return Page(listed, _encoded(rows[limit - 1].number) if len(rows) > limit else None)


def list_files(
    catalog: Catalog, wanted: FileFilter | None = None, *, limit: int = 50, after: str | None = None
) -> Page[ListedFile]:
    """Files by path; where a reason is asked for, by reason and then by path.

    Raises:
        ConfigError: ``after`` is no cursor of such a listing.
    """
    wanted = wanted or FileFilter()
    by_reason = wanted.reason is not None
    last = None if after is None else _cursor(after, *([str, str] if by_reason else [str]))
    with reading(catalog.engine) as connection:
        rows = _files_by_reason(connection, wanted, limit + 1, last) if by_reason else None
        rows = rows if rows is not None else _files_by_path(connection, wanted, limit + 1, last)
    page = tuple(ListedFile(*row) for row in rows[:limit])
    if len(rows) <= limit:
        return Page(page, None)
    return Page(page, _encoded(page[-1].reason, page[-1].path) if by_reason else _encoded(page[-1].path))


def _conditions(engine: Engine, wanted: VolumeFilter) -> list[sql.ColumnElement[bool]]:
    v = t.volumes.c
    found = [
        v[name] == value
        for name in ("modality", "outcome", "annotated", "study", "series", "patient_key")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.root is not None:
        found.append(v.number.in_(sql.select(located(wanted.root).subquery().c.volume)))
    if wanted.label is not None:
        labelled = sql.select(t.annotation_labels.c.volume).where(t.annotation_labels.c.label == wanted.label)
        found.append(v.number.in_(labelled))
    if wanted.part is not None:
        found.append(_holds(engine, v.part, wanted.part))
    return found


def _listed(row: Any) -> ListedVolume:
    same = ("volume_id", "modality", "unit", "channels", "part", "objects", "patient_key", "study", "series", "files")
    kept = {name: getattr(row, name) for name in same}
    return ListedVolume(**kept, shape=tuple(row.shape), spacing=tuple(row.spacing), outcome=row.outcome)


def _files_by_path(connection: Connection, wanted: FileFilter, limit: int, last: list[Any] | None) -> list[Any]:
    conditions = _file_conditions(connection.engine, wanted)
    if last is not None:
        conditions.append(t.files.c.path > last[0])
    rows: list[Any] = []
    for span in within(t.files.c.path, wanted.root):
        # Which rows, from an index alone, and only then what they hold.
        which = sql.select(t.files.c.id).where(span, *conditions).order_by(t.files.c.path).limit(limit - len(rows))
        query = sql.select(*_SHOWN).where(t.files.c.id.in_(which)).order_by(t.files.c.path)
        rows += connection.execute(query).all() if len(rows) < limit else []
    return rows


def _files_by_reason(connection: Connection, wanted: FileFilter, limit: int, last: list[Any] | None) -> list[Any]:
    f, begin = t.files.c, wanted.reason or ""
    query = sql.select(*_SHOWN).where(*_file_conditions(connection.engine, wanted))
    query = query.where(t.HAS_REASON, f.reason >= begin, f.reason < begin + _LAST)
    if last is not None:
        query = query.where(sql.tuple_(f.reason, f.path) > sql.tuple_(*last))
    query = query.where(sql.or_(*within(f.path, wanted.root)))
    return list(connection.execute(query.order_by(f.reason, f.path).limit(limit)))


def _file_conditions(engine: Engine, wanted: FileFilter) -> list[Any]:
    found: list[Any] = []
    if wanted.outcome is not None:
        found.append(t.files.c.outcome == wanted.outcome)
        # Without these words only the index by reason serves where a reason is asked for, as it should.
        if wanted.outcome != "ingested" and wanted.reason is None:
            found.append(t.NOT_INGESTED)
    if wanted.contains is not None:
        found.append(_holds(engine, t.files.c.path, wanted.contains))
    return found


def _holds(engine: Engine, column: sql.ColumnElement[str], text: str) -> sql.ColumnElement[bool]:
    """``text`` anywhere in the column, in any case. SQLite's LIKE is that already, and does without lowering each."""
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    like = column.ilike if engine.dialect.name == "postgresql" else column.like
    return like(pattern, escape="\\")


def _encoded(*last: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")


def _cursor(text: str, *kinds: type) -> list[Any]:
    try:
        last = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        last = None
    if not isinstance(last, list) or [type(one) for one in last] != list(kinds):
        raise ConfigError(f"--after takes the cursor that the page before ended with, got {text!r}")
    return last
