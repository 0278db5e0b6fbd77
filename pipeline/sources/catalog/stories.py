"""Everything that is known of one file, of one volume, and of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from pipeline.errors import SourceError
from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.catalog import Catalog
from pipeline.sources.catalog.engine import reading
from pipeline.sources.catalog.records import AnnotationRecord, FileRecord, Outcome, VolumeRecord
from pipeline.sources.catalog.rows import annotation_records, below, count_outcomes, file_records, tally

OnDisk = Literal["unchanged", "changed", "gone"]
_VOLUME_FIELDS = tuple(VolumeRecord.__dataclass_fields__)
_HEX = set("0123456789abcdef")


@dataclass(frozen=True)
class PastOutcome:
    """What became of a file before; ``gone``: it was not there any more at ``until``. Times are seconds since 1970."""

    outcome: Outcome
    reason: str
    digest: str | None
    recorded_at: int
    until: int
    gone: bool


@dataclass(frozen=True)
class FileStory:
    """What happened to one path. ``file`` is `None` where only a past, or files below it, are known.

    ``on_disk`` compares size and time of change of the file (or of the archive file that holds it) with what was read.
    ``annotated`` says who annotates the volumes that it became, ``annotates`` which volumes it annotates itself;
    ``below`` counts the outcomes of the files below it: members of an archive file, or of a folder.
    """

    path: str
    file: FileRecord | None
    recorded_at: int | None
    on_disk: OnDisk | None
    past: tuple[PastOutcome, ...]
    volumes: tuple[VolumeRecord, ...]
    annotated: tuple[AnnotationRecord, ...]
    annotates: tuple[AnnotationRecord, ...]
    below: dict[str, int]


@dataclass(frozen=True)
class Provenance:
    """One way in which a volume was made. ``source``: a digest over its files' digests, empty if not all are known."""

    made_at: int
    reader: str
    source: str
    version: str


@dataclass(frozen=True)
class VolumeStory:
    """What is known of one volume; ``files`` are its image files in the order of their paths."""

    volume: VolumeRecord
    files: tuple[str, ...]
    annotation: AnnotationRecord | None
    provenance: tuple[Provenance, ...]


def file_story(catalog: Catalog, path: Path) -> FileStory | None:
    """What happened to the file at ``path``; `None` where the catalog never met it, nor anything below it."""
    with reading(catalog.engine) as connection:
        for place in dict.fromkeys((_unfollowed(path), path.expanduser().resolve())):
            story = _file_story(connection, place)
            if story is not None:
                return story
    return None


def find_volume(catalog: Catalog, prefix: str) -> str:
    """The whole id of the only listed volume whose id begins with ``prefix``.

    Raises:
        SourceError: there is none, or several.
    """
    wanted = prefix.strip().lower()
    v = t.volumes.c
    query = sql.select(v.volume_id).where(v.files > 0, v.volume_id >= wanted, v.volume_id < wanted + "g")
    with reading(catalog.engine) as connection:
        found = connection.execute(query.order_by(v.volume_id).limit(3)).scalars().all() if set(wanted) <= _HEX else []
    if not found or not wanted:
        raise SourceError(f"no volume has an id that begins with {prefix!r}; `cellscan catalog list` shows them")
    if len(found) > 1 and found[0] != wanted:
        raise SourceError(
            f"several volumes have ids that begin with {prefix!r}: {', '.join(found[:2])} …; give more of it"
        )
    return found[0]


def volume_story(catalog: Catalog, volume_id: str) -> VolumeStory:
    """Raises `SourceError` where no volume has that id (a whole one)."""
    p = t.provenance.c
    with reading(catalog.engine) as connection:
        number = connection.execute(sql.select(t.volumes.c.number).where(t.volumes.c.volume_id == volume_id)).scalar()
        if number is None:
            raise SourceError(f"no volume has the id {volume_id!r}; `cellscan catalog list` shows them")
        (volume,) = _volumes(connection, [number])
        images = _joined(t.files.c.path).where(t.volume_files.c.volume == number, t.files.c.kind == "image")
        paths = connection.execute(images.order_by(t.files.c.path)).scalars().all()
        annotation = annotation_records(connection, t.annotations.c.volume == number)
        made = sql.select(p.made_at, p.reader, p.source, p.version).where(p.volume == number).order_by(p.id)
        provenance = tuple(Provenance(*row) for row in connection.execute(made))
    return VolumeStory(volume, tuple(paths), next(iter(annotation), None), provenance)


def overview(catalog: Catalog) -> dict[str, Any]:
    """Counts of everything: files by outcome, volumes by modality, labels, archives, and bytes read."""
    v = t.volumes.c
    listed = v.files > 0
    label = t.annotation_labels.c
    with reading(catalog.engine) as connection:
        facts = sql.select(
            sql.func.count(),
            sql.func.count(sql.distinct(v.patient_key)),
            sql.func.count(sql.distinct(v.study)),
            sql.func.count(sql.distinct(v.series)),
            sql.func.count().filter(v.annotated),
        ).where(listed)
        total, patients, studies, series, annotated = connection.execute(facts).one()
        modalities = sql.select(v.modality, sql.func.count()).where(listed).group_by(v.modality).order_by(v.modality)
        objects = (
            sql.select(label.label, sql.func.sum(label.objects))
            .where(label.volume.in_(sql.select(v.number).where(listed)))
            .group_by(label.label)
            .order_by(label.label)
        )
        files, size = tally(connection)
        return {
            "files": files,
            "bytes": size,
            "volumes": int(total),
            "annotated": int(annotated),
            "patients": int(patients),
            "studies": int(studies),
            "series": int(series),
            "modalities": {name: int(count) for name, count in connection.execute(modalities)},
            "objects": {name: int(count) for name, count in connection.execute(objects)},
            "archives": [dict(row) for row in connection.execute(sql.select(t.archives)).mappings()],
        }


def _file_story(connection: Connection, path: Path) -> FileStory | None:
    here = t.files.c.path == str(path)
    file = next(iter(file_records(connection, here)), None)
    recorded_at = connection.execute(sql.select(t.files.c.recorded_at).where(here)).scalar()
    below_it = count_outcomes(connection, below(t.files.c.path, path))
    past = _past(connection, str(path))
    if file is None and not any(below_it.values()) and not past:
        return None
    numbers = list(connection.execute(_joined(t.volume_files.c.volume).where(here)).scalars()) if file else []
    is_image = file is not None and file.kind == "image"
    annotated = annotation_records(connection, t.annotations.c.volume.in_(numbers)) if is_image else []
    return FileStory(
        path=str(path),
        file=file,
        recorded_at=recorded_at,
        on_disk=None if file is None else _on_disk(connection, file),
        past=past,
        volumes=tuple(_volumes(connection, numbers)),
        annotated=tuple(annotated),
        annotates=tuple(annotation_records(connection, t.annotations.c.path == str(path))),
        below=below_it,
    )


def _unfollowed(path: Path) -> Path:
    """As the catalog names it: folders resolved, but a link that is the file itself is not followed."""
    whole = path.expanduser().absolute()
    return whole.parent.resolve() / whole.name


def _on_disk(connection: Connection, file: FileRecord) -> OnDisk:
    read = {file.path: (file.size, file.mtime_ns)}
    parents = [str(parent) for parent in Path(file.path).parents]
    f = t.files.c
    holders = sql.select(f.path, f.size, f.mtime_ns).where(f.path.in_(parents), f.kind == "archive")
    # A member of an archive file stands or falls with the outermost file.
    read.update({path: (size, mtime_ns) for path, size, mtime_ns in connection.execute(holders)})
    outermost = min(read, key=len)
    try:
        status = Path(outermost).stat()
    except OSError:
        return "gone"
    return "unchanged" if (status.st_size, status.st_mtime_ns) == read[outermost] else "changed"


def _past(connection: Connection, path: str) -> tuple[PastOutcome, ...]:
    p = t.past.c
    columns = (p.outcome, p.reason, p.digest, p.recorded_at, p.until, p.gone)
    rows = connection.execute(sql.select(*columns).where(p.path == path).order_by(p.id))
    return tuple(PastOutcome(*row) for row in rows)


def _joined(column: sql.ColumnElement[Any]) -> sql.Select[Any]:
    return sql.select(column).select_from(t.volume_files).join(t.files, t.files.c.id == t.volume_files.c.file)


def _volumes(connection: Connection, numbers: Sequence[int]) -> list[VolumeRecord]:
    query = sql.select(*(t.volumes.c[name] for name in _VOLUME_FIELDS)).where(t.volumes.c.number.in_(numbers))
    rows = connection.execute(query.order_by(t.volumes.c.number)).mappings()
    return [VolumeRecord(**{**row, "shape": tuple(row["shape"]), "spacing": tuple(row["spacing"])}) for row in rows]
