"""The catalog's tables as Parquet files, row by row: memory stays flat however many rows there are."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from pipeline.progress import Progress
from pipeline.sources.catalog import tables as t
from pipeline.sources.catalog.catalog import Catalog
from pipeline.sources.catalog.engine import reading
from pipeline.sources.catalog.records import readable

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 20_000
_Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class _Export:
    """``of`` is the table of which each row gives one row of the file."""

    of: sql.Table
    rows: Callable[[Connection], _Rows]
    schema: "Callable[[], pa.Schema]"


def export_table(catalog: Catalog, name: str, out: Path, progress: Progress | None = None) -> int:
    """Write one of `EXPORTS` to the Parquet file ``out``; it is there whole or not at all.

    Returns:
        The number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    export = EXPORTS[name]
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    schema = export.schema()
    done = 0
    try:
        with reading(catalog.engine) as connection:
            total = connection.execute(sql.select(sql.func.count()).select_from(export.of)).scalar_one()
            rows = export.rows(connection.execution_options(yield_per=_BATCH))
            with parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
                while batch := list(islice(rows, _BATCH)):
                    writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
                    done += len(batch)
                    if progress is not None:
                        progress(done, max(total, done), name)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return done


def _files(connection: Connection) -> _Rows:
    query = (
        sql.select(t.files, t.volumes.c.volume_id)
        .join(t.volume_files, t.volume_files.c.file == t.files.c.id, isouter=True)
        .join(t.volumes, t.volumes.c.number == t.volume_files.c.volume, isouter=True)
        .order_by(t.files.c.id, t.volume_files.c.position)
    )
    for _, group in groupby(connection.execute(query).mappings(), key=lambda row: row["id"]):
        rows = list(group)
        volume_ids = [row["volume_id"] for row in rows if row["volume_id"] is not None]
        yield {**rows[0], "path": readable(rows[0]["path"]), "volume_ids": volume_ids}


def _volumes(connection: Connection) -> _Rows:
    query = (
        sql.select(t.volumes, t.annotations.c.objects)
        .join(t.annotations, t.annotations.c.volume == t.volumes.c.number, isouter=True)
        .order_by(t.volumes.c.number)
    )
    for row in connection.execute(query).mappings():
        yield {**row, "store": readable(row["store"]), "attributes": sorted(row["attributes"].items())}


def _annotations(connection: Connection) -> _Rows:
    label = t.annotation_labels.c
    query = (
        sql.select(t.annotations, t.volumes.c.volume_id, label.label, label.objects.label("of_label"))
        .join(t.volumes, t.volumes.c.number == t.annotations.c.volume)
        .join(t.annotation_labels, label.volume == t.annotations.c.volume, isouter=True)
        .order_by(t.annotations.c.volume, label.label)
    )
    for _, group in groupby(connection.execute(query).mappings(), key=lambda row: row["volume"]):
        rows = list(group)
        labels = [(row["label"], row["of_label"]) for row in rows if row["label"] is not None]
        yield {**rows[0], "path": readable(rows[0]["path"]), "labels": labels}


def _file_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.string()),
            ("size", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("reader", pa.string()),
            ("kind", pa.string()),
            ("outcome", pa.string()),
            ("reason", pa.string()),
            ("digest", pa.string()),
            ("series", pa.string()),
            ("instance", pa.string()),
            ("recorded_at", pa.timestamp("s", tz="UTC")),
            ("volume_ids", pa.list_(pa.string())),
        ]
    )


def _volume_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("volume_id", pa.string()),
            ("store", pa.string()),
            ("patient_key", pa.string()),
            ("study", pa.string()),
            ("series", pa.string()),
            ("modality", pa.string()),
            ("part", pa.string()),
            ("shape", pa.list_(pa.int64())),
            ("spacing", pa.list_(pa.float64())),
            ("unit", pa.string()),
            ("channels", pa.int32()),
            ("attributes", pa.map_(pa.string(), pa.string())),
            ("files", pa.int64()),
            ("outcome", pa.string()),
            ("objects", pa.int64()),
        ]
    )


def _annotation_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("volume_id", pa.string()),
            ("path", pa.string()),
            ("format", pa.string()),
            ("objects", pa.int64()),
            ("labels", pa.map_(pa.string(), pa.int64())),
            ("from_points", pa.bool_()),
        ]
    )


EXPORTS = {
    "files": _Export(t.files, _files, _file_schema),
    "volumes": _Export(t.volumes, _volumes, _volume_schema),
    "annotations": _Export(t.annotations, _annotations, _annotation_schema),
}
