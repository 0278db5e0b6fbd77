"""Annotation tables, recognised by what they hold and not by their name.

==========================  ================================================================================
columns / format            meaning
==========================  ================================================================================
image_id,x_px,y_px,label    centre points; coordinates count from the EDGE of the first pixel: index = x − 0.5
image_id,value,label        the class of each value of the image's label map
file | image_id | series_…  an index: ``patient_id``, ``split``, ``class``, ``modality`` and descriptive columns
cellscan-boxes-1 (JSON)     boxes along the array axes, with the frame they are given in
==========================  ================================================================================
"""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import AnnotationError

TableKind = Literal["centres", "label_classes", "index", "boxes"]
BOXES_FORMAT = "cellscan-boxes-1"
TABLE_BYTES = 256 << 20
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "public_test": "test",
}
# Columns that describe the scan or the finding and never the person.
_ATTRIBUTES = frozenset(
    {"stain", "tissue", "organ", "body_part", "magnification", "diameter_mm", "grade", "num_nuclei"}
    | {"malignancy", "malignancy_value", "calcification", "internalstructure", "lobulation", "margin", "sphericity"}
    | {"spiculation", "subtlety", "texture"}
)
_REFERENCES = ("file", "image_id", "series_instance_uid")


@dataclass(frozen=True)
class Table:
    """A recognised table: ``entries`` holds the rows (or scans) that speak of one image, by its reference.

    ``base`` is the folder (absolute) that references are relative to: the table's own, or the one above a folder
    ``annotations``.
    """

    kind: TableKind
    path: str
    base: str
    entries: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Description:
    """What an index says of one image."""

    patient_id: str | None = field(default=None, repr=False)
    subset: str | None = None
    label: str | None = None
    modality: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def read_table(path: Path) -> Table | None:
    """The table at ``path``, or `None` where it is none that is known.

    Raises:
        AnnotationError: a known table that cannot be read.
    """
    if path.stat().st_size > TABLE_BYTES:
        raise AnnotationError(f"the table has more than {TABLE_BYTES >> 20} MiB")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError("the table is not UTF-8 text") from error
    base = str(path.parent.parent if path.parent.name == "annotations" else path.parent)
    return _read_boxes(path, base, text) if path.name.lower().endswith(".json") else _read_csv(path, base, text)


def description(row: dict[str, Any]) -> Description:
    """One index row.

    Raises:
        AnnotationError: an unknown split, or a modality that is no DICOM code.
    """
    split = str(row.get("split") or "").strip().lower()
    if split and split not in _SPLITS:
        raise AnnotationError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
    modality = str(row.get("modality") or "").strip().upper()
    if modality and not (modality.isalnum() and len(modality) <= 16):
        raise AnnotationError("modality must be a DICOM code such as CT, MR or SM")
    return Description(
        patient_id=str(row.get("patient_id") or "").strip() or None,
        subset=_SPLITS.get(split),
        label=str(row.get("class") or "").strip() or None,
        modality=modality or None,
        attributes={name: str(row[name]) for name in row if name in _ATTRIBUTES and row[name] not in (None, "")},
    )


def _read_csv(path: Path, base: str, text: str) -> Table | None:
    try:
        reader = csv.DictReader(text.splitlines(), strict=True)
        columns = [str(name).strip().lower() for name in reader.fieldnames or []]
        kind = _csv_kind(set(columns))
        if kind is None:
            return None
        reader.fieldnames = columns
        rows = list(reader)
    except csv.Error as error:
        raise AnnotationError("the table is not well-formed CSV") from error
    key = next(name for name in _REFERENCES if name in columns)
    entries: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        if row.get(None) or None in row.values():
            raise AnnotationError(f"line {number} has another number of columns than the header ({len(columns)})")
        entries[key, row[key].strip()].append(row)
    return Table(kind, str(path), base, dict(entries))


def _csv_kind(columns: set[str]) -> TableKind | None:
    if {"image_id", "x_px", "y_px", "label"} <= columns:
        return "centres"
    if {"image_id", "value", "label"} <= columns:
        return "label_classes"
    described = columns & (_ATTRIBUTES | {"patient_id", "split", "class", "modality"})
    return "index" if described and columns & set(_REFERENCES) else None


def _read_boxes(path: Path, base: str, text: str) -> Table | None:
    if BOXES_FORMAT not in text:
        return None
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError("the file is not well-formed JSON") from error
    if not isinstance(raw, dict) or raw.get("format") != BOXES_FORMAT:
        return None
    scans = raw.get("scans")
    if not isinstance(scans, list):
        raise AnnotationError(f"expected a list 'scans' in {BOXES_FORMAT}, got {type(scans).__name__}")
    entries: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for number, scan in enumerate(scans):
        keys = [name for name in ("series_instance_uid", "file") if isinstance(scan, dict) and scan.get(name)]
        if not keys:
            raise AnnotationError(f"scan {number} names neither series_instance_uid nor file")
        entries[keys[0], str(scan[keys[0]])].append(scan)
    return Table("boxes", str(path), base, dict(entries))
