"""Tables that describe images, and hold no objects: indexes, and the classes of a label map's values.

=====================================  ========================================================================
columns                                meaning
=====================================  ========================================================================
image_id,value,label                   the class of each value of the image's label map
file | image_id | series_instance_uid  an index: ``patient_id``, ``split``, ``class``, ``modality`` and
                                       descriptive columns
=====================================  ========================================================================
"""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import read_rows
from pipeline.sources.annotations.marks import Reference
from pipeline.sources.identifiers import uid_digest
from pipeline.volumes import UNLABELLED

TableKind = Literal["index", "label_classes"]
Row = dict[str, str]
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
    | {"spiculation", "subtlety", "texture", "diagnosis", "diagnosis_value"}
)
_REFERENCES = ("file", "image_id", "series_instance_uid")


@dataclass(frozen=True)
class Table:
    """The rows of a table that speak of one image each, by reference."""

    kind: TableKind
    entries: dict[Reference, list[Row]] = field(repr=False)


@dataclass(frozen=True)
class Description:
    """What an index says of one image."""

    patient_id: str | None = field(default=None, repr=False)
    subset: str | None = None
    label: str | None = None
    modality: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def table_kind(columns: list[str]) -> TableKind | None:
    """Which table has these columns; `None` for none of them."""
    named = set(columns)
    if {"image_id", "value", "label"} <= named:
        return "label_classes"
    described = named & (_ATTRIBUTES | {"patient_id", "split", "class", "modality"})
    return "index" if described and named & set(_REFERENCES) else None


def read_table(path: Path) -> Table:
    """The table at ``path``.

    Raises:
        AnnotationError: not well-formed, none of these tables, or a row that names no image.
    """
    columns, rows = read_rows(path)
    kind = table_kind(columns)
    if kind is None:
        raise AnnotationError("the table is neither an index nor a table of classes")
    key = next(name for name in _REFERENCES if name in columns)
    entries: dict[Reference, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        name = row[key].strip()
        if not name:
            raise AnnotationError(f"line {number} names no image in column {key}")
        entries[_reference(key, name)].append(row)
    return Table(kind, dict(entries))


def description(row: Row) -> Description:
    """One index row.

    Raises:
        AnnotationError: an unknown split, or a modality that is no DICOM code.
    """
    split = row.get("split", "").strip().lower()
    if split and split not in _SPLITS:
        raise AnnotationError(f"split must be one of {', '.join(_SPLITS)}")
    modality = row.get("modality", "").strip().upper()
    if modality and not (modality.isalnum() and len(modality) <= 16):
        raise AnnotationError("modality must be a DICOM code such as CT, MR or SM")
    return Description(
        patient_id=row.get("patient_id", "").strip() or None,
        subset=_SPLITS.get(split),
        label=row.get("class", "").strip() or None,
        modality=modality or None,
        attributes={name: row[name] for name in row if name in _ATTRIBUTES and row[name]},
    )


def label_classes(rows: list[Row]) -> dict[int, str]:
    """Rows ``value, label`` → class by value.

    Raises:
        AnnotationError: a value that is no whole number, or one with two classes.
    """
    classes: dict[int, str] = {}
    for row in rows:
        try:
            value = int(row["value"])
        except ValueError as error:
            raise AnnotationError("column value must hold whole numbers") from error
        label = row["label"].strip() or UNLABELLED
        if classes.setdefault(value, label) != label:
            raise AnnotationError(f"value {value} has two classes")
    return classes


def _reference(key: str, name: str) -> Reference:
    if key == "series_instance_uid":
        return Reference(series=uid_digest(name) or "")
    return Reference(file=name)
