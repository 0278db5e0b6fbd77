"""One save: rows of files, volumes and annotations are put in, and what follows from them is brought up to date."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.records import AnnotationRecord, FileRecord, VolumeRecord
from pipeline.sources.catalog.standing import refresh

_T = TypeVar("_T")
_CHUNK = 500
_STATE = ("size", "mtime_ns", "outcome", "reason", "digest")


def save(
    connection: Connection,
    files: Sequence[FileRecord],
    volumes: Sequence[VolumeRecord],
    annotations: Sequence[AnnotationRecord],
    withdrawn: Sequence[str],
) -> None:
    """See `Catalog.save`; all within the caller's transaction."""
    _save_series(connection, files, volumes)
    upsert(connection, t.volumes, [_volume_row(one) for one in volumes], ("volume_id",))
    named = {one.volume_id for one in volumes} | {one.volume_id for one in annotations}
    named |= {volume_id for file in files for volume_id in file.volume_ids}
    numbers = _numbers(connection, named | set(withdrawn))
    unknown = named - set(numbers)
    if unknown:
        raise ValueError(f"volumes must be saved before, or together with, what refers to them: {sorted(unknown)}")
    touched = {numbers[one] for one in named}
    touched |= _save_files(connection, files, numbers)
    touched |= _withdraw(connection, [numbers[one] for one in withdrawn if one in numbers])
    _annotate(connection, annotations, numbers)
    refresh(connection, touched, {numbers[one.volume_id] for one in volumes}, now())


def forget(connection: Connection, paths: Sequence[str]) -> None:
    """See `Catalog.forget`."""
    touched: set[int] = set()
    for chunk in chunks(paths):
        rows = connection.execute(sql.select(t.files).where(t.files.c.path.in_(chunk))).all()
        ids = [row.id for row in rows]
        _keep_past(connection, [_past_row(row, gone=True) for row in rows])
        _count(connection, come=(), gone=rows)
        touched |= _unlink(connection, ids)
        connection.execute(sql.delete(t.files).where(t.files.c.id.in_(ids)))
    refresh(connection, touched, set(), now())


def enter_archive(connection: Connection, root: str) -> None:
    row = {"root": root, "first_at": now(), "last_at": now()}
    upsert(connection, t.archives, [row], ("root",), leave=("first_at",))


def chunks(items: Iterable[_T], size: int = _CHUNK) -> Iterator[list[_T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def now() -> int:
    """Seconds since 1970, UTC."""
    return int(time.time())


def upsert(
    connection: Connection,
    table: sql.Table,
    rows: Sequence[dict[str, Any]],
    key: Sequence[str],
    leave: Sequence[str] = (),
) -> None:
    """Insert rows, or give those of the same ``key`` the new values, but for the columns in ``leave``."""
    if not rows:
        return
    insert = _insert(connection, table)
    new = {name: insert.excluded[name] for name in rows[0] if name not in {*key, *leave}}
    same = {"index_elements": list(key)}
    statement = insert.on_conflict_do_update(**same, set_=new) if new else insert.on_conflict_do_nothing(**same)
    for chunk in chunks(rows):
        connection.execute(statement, chunk)


def _insert(connection: Connection, table: sql.Table) -> Any:
    """SQLite's and PostgreSQL's own INSERT, which can do something about a row that is there already."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _save_series(connection: Connection, files: Sequence[FileRecord], volumes: Sequence[VolumeRecord]) -> None:
    studies = {one.study: one.patient_key for one in volumes if one.study}
    rows = [{"study": study, "patient_key": key} for study, key in studies.items()]
    upsert(connection, t.studies, rows, ("study",))
    told = {one.series: {"study": one.study, "modality": one.modality} for one in volumes if one.series}
    upsert(connection, t.series, [{"series": name, **rest} for name, rest in told.items()], ("series",))
    # A series of which every file was refused is known by its digest only.
    bare = {file.series for file in files if file.series} - set(told)
    empty = [{"series": name, "study": None, "modality": ""} for name in bare]
    upsert(connection, t.series, empty, ("series",), leave=("study", "modality"))


def _volume_row(volume: VolumeRecord) -> dict[str, Any]:
    return {**vars(volume), "shape": list(volume.shape), "spacing": [float(one) for one in volume.spacing]}


def _numbers(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    columns = (t.volumes.c.volume_id, t.volumes.c.number)
    found: dict[str, int] = {}
    for chunk in chunks(sorted(ids)):
        rows = connection.execute(sql.select(*columns).where(t.volumes.c.volume_id.in_(chunk)))
        found.update((volume_id, number) for volume_id, number in rows)
    return found


def _save_files(connection: Connection, files: Sequence[FileRecord], numbers: dict[str, int]) -> set[int]:
    """Returns the volumes that a file became before."""
    touched: set[int] = set()
    for chunk in chunks({file.path: file for file in files}.values()):
        by_path = {file.path: file for file in chunk}
        before = connection.execute(sql.select(t.files).where(t.files.c.path.in_(by_path))).all()
        changed = [row for row in before if _state(row) != _state(by_path[row.path])]
        _keep_past(connection, [_past_row(row, gone=False) for row in changed])
        if len(before) < len(chunk):
            _take_back(connection, by_path)
        touched |= _unlink(connection, [row.id for row in before])
        upsert(connection, t.files, [_file_row(file) for file in chunk], ("path",))
        _count(connection, come=chunk, gone=before)
        _link(connection, by_path, numbers)
    return touched


def _file_row(file: FileRecord) -> dict[str, Any]:
    row = {name: value for name, value in vars(file).items() if name != "volume_ids"}
    return {**row, "recorded_at": now()}


def _state(row: Any) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _STATE)


def _past_row(row: Any, *, gone: bool) -> dict[str, Any]:
    kept = {name: getattr(row, name) for name in ("path", *_STATE, "recorded_at")}
    return {**kept, "until": now(), "gone": gone}


def _keep_past(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(sql.insert(t.past), rows)


def _take_back(connection: Connection, by_path: dict[str, FileRecord]) -> None:
    """A file that was forgotten and comes again as it was has no past worth telling."""
    gone = sql.select(t.past).where(t.past.c.path.in_(by_path), t.past.c.gone)
    same = [row.id for row in connection.execute(gone) if _state(row) == _state(by_path[row.path])]
    if same:
        connection.execute(sql.delete(t.past).where(t.past.c.id.in_(same)))


def _count(connection: Connection, come: Sequence[FileRecord], gone: Sequence[Any]) -> None:
    files: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for sign, some in ((1, come), (-1, gone)):
        for row in some:
            files[row.outcome] += sign
            size[row.outcome] += sign * row.size
    rows = [{"outcome": outcome, "files": count, "bytes": size[outcome]} for outcome, count in files.items()]
    if rows:
        insert = _insert(connection, t.tally)
        more = {name: t.tally.c[name] + insert.excluded[name] for name in ("files", "bytes")}
        connection.execute(insert.on_conflict_do_update(index_elements=["outcome"], set_=more), rows)


def _unlink(connection: Connection, file_ids: list[int]) -> set[int]:
    """Returns the volumes that lost a file."""
    if not file_ids:
        return set()
    mine = t.volume_files.c.file.in_(file_ids)
    touched = set(connection.execute(sql.select(t.volume_files.c.volume).where(mine)).scalars())
    connection.execute(sql.delete(t.volume_files).where(mine))
    return touched


def _link(connection: Connection, by_path: dict[str, FileRecord], numbers: dict[str, int]) -> None:
    linked = [path for path, file in by_path.items() if file.volume_ids]
    found = connection.execute(sql.select(t.files.c.path, t.files.c.id).where(t.files.c.path.in_(linked)))
    rows = [
        {"volume": numbers[volume_id], "file": number, "position": position}
        for path, number in found
        for position, volume_id in enumerate(dict.fromkeys(by_path[path].volume_ids))
    ]
    if rows:
        connection.execute(sql.insert(t.volume_files), rows)


def _withdraw(connection: Connection, volumes: Sequence[int]) -> set[int]:
    for chunk in chunks(volumes):
        connection.execute(sql.delete(t.annotation_labels).where(t.annotation_labels.c.volume.in_(chunk)))
        connection.execute(sql.delete(t.annotations).where(t.annotations.c.volume.in_(chunk)))
    return set(volumes)


def _annotate(connection: Connection, records: Sequence[AnnotationRecord], numbers: dict[str, int]) -> None:
    by_volume = {numbers[one.volume_id]: one for one in records}
    _withdraw(connection, list(by_volume))
    rows = [
        {"volume": v, "path": r.path, "format": r.format, "objects": r.objects, "from_points": r.from_points}
        for v, r in sorted(by_volume.items())
    ]
    labels = [
        {"volume": v, "label": label, "objects": count}
        for v, r in by_volume.items()
        for label, count in r.labels.items()
    ]
    for table, some in ((t.annotations, rows), (t.annotation_labels, labels)):
        for chunk in chunks(some):
            connection.execute(sql.insert(table), chunk)
