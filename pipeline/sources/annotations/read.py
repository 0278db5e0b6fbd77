"""One annotation file: read in the child, described as JSON with arrays beside it, and made whole in the parent."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError, SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.columns import read_marks, write_marks
from pipeline.sources.annotations.formats import LABEL_MAP, READERS, TABLES, format_of, reader
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference, Refused
from pipeline.sources.annotations.tables import Table, read_table
from pipeline.volumes.arrays import write_array
from pipeline.volumes.read import grid_from_json, grid_to_json

_LARGEST_VALUE = 1 << 20


@dataclass(frozen=True, eq=False)
class StoredLabelMap:
    """A label map that the child wrote to ``path`` (`write_array`, with a leading axis of 1), and its objects.

    ``boxes`` lie on the map's own grid, one for each of ``values`` ``(n,)``, ascending, as the file holds them; where
    they are too large to count through, the written map holds 1 … n instead. ``labels`` and ``ignore`` as in
    `LabelMapSet`.
    """

    reference: Reference
    path: Path
    boxes: Boxes
    values: np.ndarray
    labels: dict[int, str]
    notes: tuple[str, ...] = ()
    ignore: frozenset[int] = frozenset()

    @property
    def grid(self) -> Grid:
        return self.boxes.grid


@dataclass(frozen=True, eq=False)
class Contents:
    """What one annotation file says: a table, or one entry an image. ``format`` is `None` where it is none of ours."""

    format: str | None
    digest: str
    table: Table | None = None
    sets: tuple[MarkSet | StoredLabelMap | Refused, ...] = ()


def read_annotations(path: Path, kind: str, out: Path, images: dict[str, str] | None = None) -> dict[str, Any]:
    """Read the file at ``path`` and describe it in JSON.

    Args:
        path: the file.
        kind: its format; empty to find it by what the file holds.
        out: arrays are written to files whose names start so.
        images: files by instance digest, for marks in ``frame_px``: only the image says where they lie. Without them
            such marks are given as they are, and their file is to be read again with the images that it names.

    Raises:
        AnnotationError: the file is of a known format and cannot be taken.
        SourceError: a label map that cannot be read.
    """
    try:
        name = kind or format_of(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"the file cannot be opened ({type(error).__name__})") from error
    reply: dict[str, Any] = {"format": name, "sha256": digest}
    if name in TABLES:
        return {**reply, "table": _table_to_json(read_table(path))}
    if name is None:
        return reply
    sets = [one if images is None else _resolved(one, images) for one in _read(path, name)]
    marks = [mark for one in sets if isinstance(one, MarkSet) for mark in one.marks]
    described = [_set_to_json(one, Path(f"{out}.{number}")) for number, one in enumerate(sets)]
    return {**reply, "sets": described, "marks": write_marks(marks, Path(f"{out}.marks")) if marks else None}


def contents(reply: dict[str, Any]) -> Contents:
    """What a reply of `read_annotations` says; the files of its arrays are the caller's to remove (`discard`)."""
    if "table" in reply:
        return Contents(reply["format"], reply["sha256"], _table_from_json(reply["table"]))
    marks = read_marks(reply["marks"]) if reply.get("marks") else iter(())
    sets = tuple(_set_from_json(raw, marks) for raw in reply.get("sets", ()))
    return Contents(reply["format"], reply["sha256"], None, sets)


def discard(reply: dict[str, Any]) -> None:
    """Remove the arrays of a reply that nobody took."""
    written = [one["array"] for one in reply.get("sets", ()) if "array" in one]
    written += [reply["marks"]["path"]] if reply.get("marks") else []
    for path in written:
        Path(path).unlink(missing_ok=True)


def _read(path: Path, name: str) -> Sequence[MarkSet | LabelMapSet | Refused]:
    if name.startswith(LABEL_MAP):
        from pipeline.sources.annotations.label_maps import read_label_map

        return read_label_map(path, name.removeprefix(LABEL_MAP))  # type: ignore[arg-type]
    if name not in READERS:
        raise AnnotationError(f"unknown format {name!r}")
    return reader(name)(path)


def _resolved(one: MarkSet | LabelMapSet | Refused, images: dict[str, str]) -> MarkSet | LabelMapSet | Refused:
    if not isinstance(one, MarkSet) or one.frame != "frame_px":
        return one
    from pipeline.sources.annotations.dicom_planes import resolved

    try:
        return resolved(one, {instance: Path(path) for instance, path in images.items()})
    except AnnotationError as error:
        return Refused(str(error))


def _set_to_json(one: MarkSet | LabelMapSet | Refused, out: Path) -> dict[str, Any]:
    if isinstance(one, Refused):
        return {"kind": "refused", "reason": one.reason}
    shared = {"reference": asdict(one.reference), "notes": list(one.notes)}
    if isinstance(one, MarkSet):
        frame = {"frame": one.frame, "from_points": one.from_points, "shape": list(one.shape)}
        return {"kind": "marks", **shared, **frame, "count": len(one.marks)}
    label_map, originals = _bounded(one.label_map)
    boxes, values = Boxes.from_label_map(label_map, one.grid)
    write_array(out, label_map[None])
    return {
        "kind": "label_map",
        **shared,
        "grid": grid_to_json(one.grid),
        "array": str(out),
        "lower": boxes.lower.tolist(),
        "upper": boxes.upper.tolist(),
        "values": (values if originals is None else originals).tolist(),
        "labels": {str(value): label for value, label in one.labels.items()},
        "ignore": sorted(one.ignore),
    }


def _bounded(label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The map with values small enough to be counted through, and the values ``(n,)`` that they stand for."""
    if label_map.size and label_map.min() < 0:
        raise AnnotationError(f"labels must be 0 or above, got {label_map.min()}")
    if not label_map.size or label_map.max() < _LARGEST_VALUE:
        return np.ascontiguousarray(label_map.astype(np.int32)), None
    values, numbers = np.unique(label_map, return_inverse=True)
    positive = values[values > 0]
    first = len(positive) - len(values) + 1  # 1 where nothing is background
    return (numbers.reshape(label_map.shape) + first).astype(np.int32), positive


def _set_from_json(raw: dict[str, Any], marks: Iterator[Mark]) -> MarkSet | StoredLabelMap | Refused:
    if raw["kind"] == "refused":
        return Refused(raw["reason"])
    reference = _reference(raw["reference"])
    notes = tuple(raw["notes"])
    if raw["kind"] == "marks":
        taken = tuple(itertools.islice(marks, raw["count"]))
        return MarkSet(reference, raw["frame"], taken, raw["from_points"], notes, tuple(raw["shape"]))
    grid = grid_from_json(raw["grid"])
    lower, upper = (np.array(raw[edge], dtype=float).reshape(-1, grid.dims) for edge in ("lower", "upper"))
    labels = {int(value): label for value, label in raw["labels"].items()}
    values = np.array(raw["values"], dtype=np.int64)
    ignore = frozenset(raw["ignore"])
    return StoredLabelMap(reference, Path(raw["array"]), Boxes(lower, upper, grid), values, labels, notes, ignore)


def _table_to_json(table: Table) -> dict[str, Any]:
    entries = [{"reference": asdict(reference), "rows": rows} for reference, rows in table.entries.items()]
    return {"kind": table.kind, "entries": entries}


def _table_from_json(raw: dict[str, Any]) -> Table:
    return Table(raw["kind"], {_reference(one["reference"]): one["rows"] for one in raw["entries"]})


def _reference(stated: dict[str, Any]) -> Reference:
    return Reference(stated["file"], stated["series"], tuple(stated["instances"]), tuple(stated["frames"]))
