"""The annotation formats, recognised by what a file holds and not by its name."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.marks import LabelMapSet, MarkSet, Refused

Reader = Callable[[Path], list[MarkSet | LabelMapSet | Refused]]

# Format → the function that reads it.
READERS = {
    "cellscan-boxes-1": "boxes_json:read_boxes",
    "centres": "points_csv:read_centres",
    "luna16": "points_csv:read_luna16",
    "coco": "coco:read_coco",
    "pascal-voc": "pascal_voc:read_pascal_voc",
    "geojson": "geojson:read_geojson",
    "slicer-markups": "slicer:read_markups",
    "slicer-fcsv": "slicer:read_fcsv",
    "dicom-seg": "dicom_seg:read_seg",
    "dicom-rtstruct": "dicom_rtstruct:read_rtstruct",
    "dicom-sr": "dicom_sr:read_sr",
    "dicom-bulk": "dicom_bulk:read_bulk",
}
# Tables that describe images and hold no objects (`tables`), and label maps by their rule (`label_maps`).
TABLES = ("index", "label_classes")
LABEL_MAP = "label-map-"

_SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "dicom-seg",
    "1.2.840.10008.5.1.4.1.1.66.7": "dicom-seg",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.481.3": "dicom-rtstruct",
    "1.2.840.10008.5.1.4.1.1.91.1": "dicom-bulk",
}
_STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."


def format_of(path: Path) -> str | None:
    """The format of a text file, `None` for none of these.

    Raises:
        AnnotationError: a JSON document that cannot be parsed, or is too large.
    """
    with path.open("rb") as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"{", b"[")):
        return _json_format(path)
    if head.startswith(b"<"):
        from pipeline.sources.annotations.pascal_voc import is_pascal_voc

        return "pascal-voc" if is_pascal_voc(path) else None
    return _csv_format(path)


def dicom_format(sop_class: str) -> str | None:
    """The format of a DICOM object by its SOP class (PS3.4 annex B.5), `None` where it annotates nothing."""
    if sop_class.startswith(_STRUCTURED_REPORTS):
        return "dicom-sr"
    return _SOP_CLASSES.get(sop_class)


def reader(name: str) -> Reader:
    """The function that reads a format of `READERS`."""
    module, function = READERS[name].split(":")
    try:
        loaded: Any = import_module(f"pipeline.sources.annotations.{module}")
    except ModuleNotFoundError as error:
        raise AnnotationError(f"{name} needs a package that is not installed: {error.name}") from error
    return getattr(loaded, function)


def _json_format(path: Path) -> str | None:
    from pipeline.sources.annotations.boxes_json import is_boxes
    from pipeline.sources.annotations.coco import is_coco
    from pipeline.sources.annotations.documents import read_json
    from pipeline.sources.annotations.geojson import is_geojson
    from pipeline.sources.annotations.slicer import is_markups

    document = read_json(path)
    kinds = {"cellscan-boxes-1": is_boxes, "coco": is_coco, "slicer-markups": is_markups, "geojson": is_geojson}
    return next((name for name, fits in kinds.items() if fits(document)), None)


def _csv_format(path: Path) -> str | None:
    from pipeline.sources.annotations.documents import csv_columns
    from pipeline.sources.annotations.points_csv import CENTRES_COLUMNS, LUNA16_COLUMNS
    from pipeline.sources.annotations.slicer import is_fcsv
    from pipeline.sources.annotations.tables import table_kind

    if is_fcsv(path):
        return "slicer-fcsv"
    columns = csv_columns(path)
    if set(columns) >= CENTRES_COLUMNS:
        return "centres"
    # An index may hold LUNA16's columns besides its own; LUNA16's tables name no file.
    return table_kind(columns) or ("luna16" if set(columns) >= LUNA16_COLUMNS else None)
