"""RT Structure Set (PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8) → one mark a region of interest.

Contours lie in the planes of slices, so a region reaches half a slice beyond its first and last plane.
ContourSlabThickness is taken for that where it is stated; else ``slab_mm`` is 0, and the image's own slices say how
far. Holes (keyhole and CLOSEDPLANAR_XOR contours) change nothing about the extent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_references import (
    instance,
    items,
    needed_items,
    open_annotation,
    reading,
    reference_to,
)
from pipeline.sources.annotations.marks import Mark, MarkSet
from pipeline.sources.dicom.header import numbers, text, whole_number
from pipeline.sources.identifiers import uid_digest

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_WHAT = "RT structure set"
_LINES, _AREAS = ("OPEN_PLANAR", "OPEN_NONPLANAR"), ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_TYPES = ("POINT", *_LINES, *_AREAS)


@dataclass(frozen=True)
class _Series:
    """An image series as the structure set lists it: digests."""

    series: str
    instances: tuple[str, ...]


@dataclass(frozen=True)
class _Contour:
    kind: str
    points_lps: np.ndarray
    images: tuple[str, ...]
    slab_mm: float


@dataclass
class _Group:
    """What is drawn on one series."""

    instances: list[str] = field(default_factory=list)
    regions: list[Mark] = field(default_factory=list)
    points: list[Mark] = field(default_factory=list)


def read_rtstruct(path: Path) -> list[MarkSet]:
    """The regions of one file in LPS mm, a set for each image series that they are drawn on.

    The closed contours of a region are one polygon, its POINT contours a point each, in a set of their own. The label
    is ROIName, else RTROIInterpretedType. Regions without contours and open contours are counted in notes.

    Raises:
        AnnotationError: damaged, contours that do not hold triplets of numbers, or no image is referred to.
    """
    with reading(_WHAT):
        dataset = open_annotation(path, (STRUCTURE_SET,), _WHAT)
        frames = _frames_of_reference(dataset)
        contours, labels = _contours_by_region(dataset), _labels(dataset)
        groups: dict[str, _Group] = {}
        empty = lines = 0
        for region in needed_items(dataset, "StructureSetROISequence"):
            number = whole_number(region, "ROINumber")
            drawn = list(contours.pop(number, ()))
            empty += not drawn
            lines += sum(contour.kind in _LINES for contour in drawn)
            series, images = _images(drawn, frames, text(region, "ReferencedFrameOfReferenceUID"))
            group = groups.setdefault(series, _Group())
            group.instances += images
            _add(group, drawn, labels.get(number, ""))
        if contours:
            raise AnnotationError(f"contours are given for {len(contours)} regions that are not described")
        notes = tuple(
            f"{count} {what}"
            for count, what in ((empty, "regions have no contours"), (lines, "contours are lines and no objects"))
            if count
        )
        return [one for series, group in groups.items() for one in _mark_sets(group, series, notes)]


def _mark_sets(group: _Group, series: str, notes: tuple[str, ...]) -> Iterator[MarkSet]:
    reference = reference_to(group.instances, series)
    if group.regions or not group.points:
        yield MarkSet(reference, "lps_mm", tuple(group.regions), notes=notes)
    if group.points:
        yield MarkSet(reference, "lps_mm", tuple(group.points), from_points=True, notes=notes)


def _add(group: _Group, contours: list[_Contour], label: str) -> None:
    for contour in contours:
        if contour.kind == "POINT":
            group.points += [Mark(label, point[None], "point") for point in contour.points_lps]
    outlines = [contour for contour in contours if contour.kind in _AREAS]
    if outlines:
        points = np.concatenate([contour.points_lps for contour in outlines])
        slab = max(contour.slab_mm for contour in outlines)
        rings = tuple(len(contour.points_lps) for contour in outlines)
        group.regions.append(Mark(label, points, "polygon", slab_mm=slab, rings=rings))


def _frames_of_reference(dataset: FileDataset) -> dict[str, list[_Series]]:
    """The listed image series by FrameOfReferenceUID."""
    found: dict[str, list[_Series]] = {}
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        listed = found.setdefault(text(frame, "FrameOfReferenceUID"), [])
        for study in items(frame, "RTReferencedStudySequence"):
            for series in items(study, "RTReferencedSeriesSequence"):
                uid = uid_digest(text(series, "SeriesInstanceUID")) or ""
                listed.append(_Series(uid, tuple(map(instance, items(series, "ContourImageSequence")))))
    return found


def _images(contours: list[_Contour], frames: dict[str, list[_Series]], frame: str) -> tuple[str, list[str]]:
    """``(series, instances)`` that a region is drawn on: what its contours name, else what its frame lists."""
    listed = [series for one in frames.values() for series in one]
    drawn = [image for contour in contours for image in contour.images]
    if drawn:
        owners = [series for series in listed if set(drawn) & set(series.instances)]
    else:
        owners = frames.get(frame) or listed
    return owners[0].series if owners else "", [*drawn, *(image for series in owners for image in series.instances)]


def _labels(dataset: FileDataset) -> dict[int, str]:
    """The label of each region by its number."""
    found = {whole_number(one, "ROINumber"): text(one, "ROIName") for one in items(dataset, "StructureSetROISequence")}
    for observed in items(dataset, "RTROIObservationsSequence"):
        number = whole_number(observed, "ReferencedROINumber", -1)
        if not found.get(number):
            found[number] = text(observed, "RTROIInterpretedType")
    return found


def _contours_by_region(dataset: FileDataset) -> dict[int, list[_Contour]]:
    found: dict[int, list[_Contour]] = {}
    for region in items(dataset, "ROIContourSequence"):
        drawn = [_contour(one) for one in items(region, "ContourSequence")]
        if drawn:
            found.setdefault(whole_number(region, "ReferencedROINumber"), []).extend(drawn)
    return found


def _contour(item: Dataset) -> _Contour:
    kind = text(item, "ContourGeometricType")
    if kind not in _TYPES:
        raise AnnotationError(f"ContourGeometricType must be one of {', '.join(_TYPES)}; this one is not")
    values = _decimals(item)
    if not len(values) or len(values) % 3:
        raise AnnotationError(f"ContourData must hold triplets of numbers, got {len(values)} numbers")
    if not np.isfinite(values).all():
        raise AnnotationError("ContourData must be finite")
    points = values.reshape(-1, 3)
    stated = whole_number(item, "NumberOfContourPoints", len(points))
    if stated != len(points):
        raise AnnotationError(f"a contour states {stated} points, {len(points)} are there")
    thickness = numbers(item, "ContourSlabThickness", 1)
    slab = max(thickness[0], 0.0) / 2 if thickness else 0.0
    return _Contour(kind, points, tuple(map(instance, items(item, "ContourImageSequence"))), slab)


def _decimals(item: Dataset) -> np.ndarray:
    """ContourData as numbers, without an object for each of its (often a million) decimal strings."""
    element = item.get_item("ContourData")
    if element is None or element.value is None:
        return np.zeros(0)
    raw = element.value if isinstance(element, RawDataElement) else None
    try:
        if isinstance(raw, bytes):
            return np.array(raw.rstrip(b"\0 ").split(b"\\") if raw.strip(b"\0 ") else [], dtype=np.float64)
        return np.atleast_1d(np.array(item.ContourData, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise AnnotationError("ContourData does not hold numbers") from error
