"""Marks on single slices or tiles → where they lie in the patient, or on the whole slide.

A report counts pixels on one slice, and only that slice's header says where it lies. `resolved` reads it: files of an
archive are untrusted, so call it in a decoding child.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_references import reading
from pipeline.sources.annotations.marks import Mark, MarkSet
from pipeline.sources.dicom.functional_groups import FrameValues, FunctionalGroups
from pipeline.sources.dicom.geometry import SlicePlace
from pipeline.sources.dicom.header import numbers, open_dataset, text, whole_number


def resolved(marks: MarkSet, files: Mapping[str, Path]) -> MarkSet:
    """A set in ``frame_px`` as one in ``lps_mm``, or in ``edge_px`` of the total pixel matrix for tiles of a slide.

    Args:
        marks: ``points`` are ``(m, 3)``: x, y from the outer edge of the frame's first pixel, and which image. A set in
            any other frame is returned as it is.
        files: the image files by the digest of their SOP instance UID.

    Raises:
        AnnotationError: an image is not there, has not that frame, states no place, or lies on both kinds of image.
    """
    if marks.frame != "frame_px":
        return marks
    with reading("image that is annotated"):
        used = sorted({int(n) for mark in marks.marks for n in np.unique(mark.points[:, 2])})
        maps = {n: _image_map(marks, n, files) for n in used}
        if len({len(one) for one in maps.values()}) > 1:
            raise AnnotationError("one object is drawn on slices in the patient and on a slide")
        on_slide = bool(maps) and len(next(iter(maps.values()))) == 2
        moved = tuple(_moved(mark, maps) for mark in marks.marks)
        reference = replace(marks.reference, frames=())
        return replace(marks, reference=reference, frame="edge_px" if on_slide else "lps_mm", marks=moved)


def _moved(mark: Mark, maps: dict[int, np.ndarray]) -> Mark:
    flat = np.column_stack([mark.points[:, :2], np.ones(len(mark.points))])
    points = np.empty((len(flat), len(next(iter(maps.values())))))
    for n in np.unique(mark.points[:, 2]):
        here = mark.points[:, 2] == n
        points[here] = flat[here] @ maps[int(n)].T
    return replace(mark, points=points)


def _image_map(marks: MarkSet, index: int, files: Mapping[str, Path]) -> np.ndarray:
    """The map ``(2 or 3, 3)`` from ``(x, y, 1)`` in edge pixels to slide pixels or LPS mm."""
    instances, frames = marks.reference.instances, marks.reference.frames
    if not 0 <= index < min(len(instances), len(frames)):
        raise AnnotationError("a region names an image that is not in its list")
    path = files.get(instances[index])
    if path is None:
        raise AnnotationError("a region is drawn on an image that is not there")
    dataset = open_dataset(path)
    count, frame = whole_number(dataset, "NumberOfFrames", 1), frames[index] - 1
    if not 0 <= frame < count:
        raise AnnotationError(f"a region is drawn on frame {frame + 1} of an image with {count}")
    if "TotalPixelMatrixColumns" in dataset:
        return _tile_map(dataset, count, frame)
    return _slice_map(_slice_place(dataset, count, frame))


def _slice_map(place: SlicePlace) -> np.ndarray:
    row, column = (np.asarray(way) / np.linalg.norm(way) for way in (place.row_lps, place.column_lps))
    x, y = row * place.spacing[0], column * place.spacing[1]
    # The position is the first pixel's centre, half a pixel from its edge on both axes.
    return np.column_stack([x, y, np.asarray(place.position_lps) - (x + y) / 2])


def _slice_place(dataset: FileDataset, count: int, frame: int) -> SlicePlace:
    values = FrameValues(FunctionalGroups.of(dataset, count), frame)
    found = []
    for keyword, length in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        value = numbers(values, keyword, length)
        if value is None:
            raise AnnotationError(f"a region is drawn on an image without {keyword}")
        found.append(value)
    position, turned, (rows, columns) = found
    shape = (whole_number(dataset, "Columns"), whole_number(dataset, "Rows"))
    return SlicePlace(position, turned[:3], turned[3:], (columns, rows), shape)


def _tile_map(dataset: FileDataset, count: int, frame: int) -> np.ndarray:
    if text(dataset, "DimensionOrganizationType") == "TILED_FULL":
        columns, rows = whole_number(dataset, "Columns"), whole_number(dataset, "Rows")
        across = -(-whole_number(dataset, "TotalPixelMatrixColumns") // columns)
        down = -(-whole_number(dataset, "TotalPixelMatrixRows") // rows)
        tile = frame % (across * down)
        left, top = tile % across * columns, tile // across * rows
    else:
        place = FunctionalGroups.of(dataset, count).of_frame(frame).get("PlanePositionSlideSequence")
        if place is None:
            raise AnnotationError("a region is drawn on a tile without a place on its slide")
        left, top = (whole_number(place, f"{axis}PositionInTotalImagePixelMatrix") - 1 for axis in ("Column", "Row"))
    return np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
