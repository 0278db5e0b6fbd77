"""Microscopy Bulk Simple Annotations (PS3.3 A.87, C.37.1) → a mark for each annotation of each group.

2D coordinates count pixels from the outer edge of the first one (C.37.1.2.1.1 after C.10.4: 0.0\\0.0 is its upper left
corner), of the total pixel matrix, or of one frame; 3D ones are millimetres on the slide. The label is
AnnotationGroupLabel, else the meaning of the property type.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_graphics import check_count
from pipeline.sources.annotations.dicom_references import (
    instance,
    items,
    meaning,
    open_annotation,
    reading,
    reference_to,
    referenced_series,
)
from pipeline.sources.annotations.marks import Frame, Mark, MarkSet, Reference
from pipeline.sources.dicom.header import text, whole_number

BULK_ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
_WHAT = "bulk annotation object"
_FIXED = {"POINT": 1, "RECTANGLE": 4, "ELLIPSE": 4}
_RAGGED = ("POLYLINE", "POLYGON")


def read_bulk(path: Path) -> list[MarkSet]:
    """The annotations of one file: points in one set, areas as polygons in another; lines are counted in a note.

    Polygons and rectangles keep their vertices; an ellipse becomes the corners of its bounding rectangle
    along the axes of its frame. In ``edge_px`` of the total pixel matrix, ``frame_px`` (see `dicom_planes`) or
    ``slide_mm``; several Z planes are one, since slides are 2D here.

    Raises:
        AnnotationError: damaged, coordinates or indices that do not fit together, or no image is referred to.
    """
    with reading(_WHAT):
        dataset = open_annotation(path, (BULK_ANNOTATIONS,), _WHAT)
        reference, frame, dims = _frame(dataset)
        found: dict[str, list[Mark]] = {"POINT": [], "POLYLINE": [], "": []}
        for group in items(dataset, "AnnotationGroupSequence"):
            marks = _marks(group, frame, dims, _byte_order(dataset))
            found.get(text(group, "GraphicType"), found[""]).extend(marks)
        points, lines, areas = (tuple(found[kind]) for kind in ("POINT", "POLYLINE", ""))
        notes = (f"{len(lines)} annotations are lines and no objects",) if lines else ()
        sets = [MarkSet(reference, frame, areas, notes=notes)] if areas or not points else []
        return [*sets, MarkSet(reference, frame, points, from_points=True, notes=notes)] if points else sets


def _frame(dataset: FileDataset) -> tuple[Reference, Frame, int]:
    """``(images, frame of the coordinates, their number of axes)``."""
    kind = text(dataset, "AnnotationCoordinateType")
    images = items(dataset, "ReferencedImageSequence")
    named = [instance(one) for one in images]
    if kind == "3D":
        series = referenced_series(dataset)
        listed = [one for _, instances in series for one in instances]
        return reference_to(named or listed, next((uid for uid, _ in series if uid), "")), "slide_mm", 3
    if kind != "2D":
        raise AnnotationError("AnnotationCoordinateType must be 2D or 3D")
    if len(images) != 1 or not named[0]:
        raise AnnotationError(f"coordinates in pixels need one image that they lie on, got {len(images)}")
    origin = text(dataset, "PixelOriginInterpretation")
    if origin == "VOLUME":
        return reference_to(named), "edge_px", 2
    if origin != "FRAME":
        raise AnnotationError("PixelOriginInterpretation must be VOLUME or FRAME for coordinates in pixels")
    number = whole_number(images[0], "ReferencedFrameNumber", 1)
    return Reference(instances=(named[0],), frames=(number,)), "frame_px", 2


def _byte_order(dataset: FileDataset) -> str:
    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    return ">" if syntax.is_transfer_syntax and not syntax.is_little_endian else "<"


def _marks(group: Dataset, frame: Frame, dims: int, order: str) -> Iterator[Mark]:
    label = text(group, "AnnotationGroupLabel") or meaning(group, "AnnotationPropertyTypeCodeSequence")
    kind = text(group, "GraphicType")
    common = group.get("CommonZCoordinateValue")
    stored = 2 if common is not None else dims
    coordinates = _coordinates(group, stored, order)
    starts = _starts(group, kind, len(coordinates), stored, order)
    stated = whole_number(group, "NumberOfAnnotations", len(starts))
    if stated != len(starts):
        raise AnnotationError(f"a group states {stated} annotations, {len(starts)} are there")
    if dims == 3 and stored == 2:
        coordinates = np.column_stack([coordinates, np.full(len(coordinates), _first_plane(common))])
    if kind == "ELLIPSE":
        coordinates = _bounding_rectangles(coordinates)
    if frame == "frame_px":
        coordinates = np.column_stack([coordinates, np.zeros(len(coordinates))])
    ends = [*starts[1:].tolist(), len(coordinates)]
    for start, end in zip(starts.tolist(), ends, strict=True):
        yield Mark(label, coordinates[start:end], "point" if kind == "POINT" else "polygon")


def _first_plane(values: object) -> float:
    planes = np.atleast_1d(np.array(values, dtype=np.float64))
    if not len(planes) or not np.isfinite(planes).all():
        raise AnnotationError("CommonZCoordinateValue must hold finite numbers")
    return float(planes[0])


def _coordinates(group: Dataset, dims: int, order: str) -> np.ndarray:
    """All points of a group, ``(n, dims)``."""
    data, dtype = group.get("DoublePointCoordinatesData"), f"{order}f8"
    if data is None:
        data, dtype = group.get("PointCoordinatesData") or b"", f"{order}f4"
    values = _array(data, dtype, "point coordinates")
    if len(values) % dims:
        raise AnnotationError(f"point coordinates must come in groups of {dims}, got {len(values)} numbers")
    if not np.isfinite(values).all():
        raise AnnotationError("point coordinates must be finite")
    return values.astype(np.float64).reshape(-1, dims)


def _array(data: bytes, dtype: str, what: str) -> np.ndarray:
    if len(data) % np.dtype(dtype).itemsize:
        raise AnnotationError(f"{what} are cut: {len(data)} bytes do not hold whole numbers")
    return np.frombuffer(data, dtype)


def _starts(group: Dataset, kind: str, count: int, dims: int, order: str) -> np.ndarray:
    """The row of each annotation's first point.

    LongPrimitivePointIndexList counts the coordinates' numbers, not the points, and from 1 (C.37.1.2.1.1).
    """
    if kind in _FIXED:
        if count % _FIXED[kind]:
            raise AnnotationError(f"a {kind} has {_FIXED[kind]} points, so {count} points make no whole number of them")
        return np.arange(0, count, _FIXED[kind])
    if kind not in _RAGGED:
        raise AnnotationError("the graphic type is none that DICOM defines")
    index = _array(group.get("LongPrimitivePointIndexList") or b"", f"{order}u4", "point indices").astype(np.int64)
    if not len(index) and not count:
        return index
    if not len(index) or index[0] != 1:
        raise AnnotationError("the point indices must start at 1")
    starts = (index - 1) // dims
    if ((index - 1) % dims).any() or (np.diff(starts) <= 0).any() or starts[-1] >= count:
        raise AnnotationError(f"the point indices must grow, start points, and lie within {count * dims} numbers")
    check_count(kind, int(np.diff([*starts.tolist(), count]).min()))
    return starts


def _bounding_rectangles(coordinates: np.ndarray) -> np.ndarray:
    """Ends of the axes of ellipses ``(4 n, d)`` → corners of their bounding rectangles in x and y, ``(4 n, d)``."""
    ends = coordinates.reshape(-1, 2, 2, coordinates.shape[1])
    centre = ends.mean(axis=(1, 2))
    half = np.sqrt((((ends[:, :, 1] - ends[:, :, 0]) / 2) ** 2).sum(axis=1))
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    corners = np.repeat(centre[:, None], 4, axis=1)
    corners[:, :, :2] += signs * half[:, None, :2]
    return corners.reshape(-1, coordinates.shape[1])
