"""Structured reports of image measurements (PS3.16 TID 1500, 1410, 1411, 1501) → marks.

A measurement group is one object: its image regions (SCOORD, SCOORD3D) are the contours of it, its finding is the
class. Regions that are drawn to measure a length or an angle (below a measurement) are no objects. Groups that refer
to a segment are left to the segmentation itself, which says all that is taken from it.

SCOORD counts pixels from the outer edge of the first one (PS3.3 C.18.6: 0.0\\0.0 is the upper left corner of the upper
left pixel), on one frame, or with PixelOriginInterpretation VOLUME on the total pixel matrix of a slide. SCOORD3D is in
the patient (LPS mm) or on the slide.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations import dicom_graphics
from pipeline.sources.annotations.dicom_references import (
    code,
    instance,
    items,
    meaning,
    needed_items,
    open_annotation,
    reading,
    reference_to,
)
from pipeline.sources.annotations.marks import Frame, Mark, MarkSet, Reference
from pipeline.sources.dicom.header import text
from pipeline.sources.dicom.sop_classes import kind_of
from pipeline.sources.identifiers import uid_digest

_STORAGE = "1.2.840.10008.5.1.4.1.1."
REPORTS = tuple(
    f"{_STORAGE}{leaf}" for leaf in ("88.11", "88.22", "88.33", "88.34", "88.35", "88.50", "88.65", "88.69")
)
_WHAT = "structured report"
_GROUP, _FINDING = ("125007", "DCM"), ("121071", "DCM")
_SEGMENTS = {("121191", "DCM"), ("121214", "DCM")}  # Referenced Segment, Referenced Segmentation Frame
_SOURCE_SERIES = ("121232", "DCM")
_DOTS = ("POINT", "MULTIPOINT")
# Deeper than any template nests; a report that goes on is damaged.
_DEEPEST = 64


@dataclass(frozen=True)
class _Image:
    """An image as a report names it; ``frame`` counts from 1."""

    instance: str
    sop_class: str
    frame: int


@dataclass(frozen=True, eq=False)
class _Region:
    graphic_type: str
    points: np.ndarray
    images: tuple[_Image, ...]
    whole_slide: bool


def read_sr(path: Path) -> list[MarkSet]:
    """The regions of one report, a set for each image (or group of slices) and for points; empty where the report has
    no image region, so that there is nothing to take from it.

    Regions on slices of a volume come in ``frame_px`` (see `dicom_planes`), on other pictures in ``edge_px``.

    Raises:
        AnnotationError: damaged, a region without image, or coordinates of another number than its shape has.
    """
    with reading(_WHAT):
        dataset = open_annotation(path, REPORTS, _WHAT)
        found: dict[tuple[Reference, Frame, bool], list[Mark]] = {}
        segments = 0
        for group in _groups(dataset, 0):
            content = items(group, "ContentSequence")
            regions = [one for item in content if (one := _region(item)) is not None]
            segments += any(_concept(item) in _SEGMENTS for item in content) and not regions
            for key, marks in _marks(regions, _finding(content), content, dataset):
                found.setdefault(key, []).extend(marks)
        notes = (f"{segments} measurement groups refer to segments: see the segmentation",) if segments else ()
        return [
            MarkSet(reference, frame, tuple(marks), from_points=points, notes=notes)
            for (reference, frame, points), marks in found.items()
        ]


def _groups(node: Dataset, depth: int) -> Iterator[Dataset]:
    """The measurement groups, wherever in the tree."""
    if depth > _DEEPEST:
        raise AnnotationError("the report nests its content without end")
    for item in items(node, "ContentSequence"):
        if text(item, "ValueType") == "CONTAINER" and _concept(item) == _GROUP:
            yield item
        else:
            yield from _groups(item, depth + 1)


def _concept(item: Dataset) -> tuple[str, str]:
    return code(item, "ConceptNameCodeSequence")


def _finding(content: list[Dataset]) -> str:
    coded = [item for item in content if text(item, "ValueType") == "CODE" and _concept(item) == _FINDING]
    return meaning(coded[0], "ConceptCodeSequence") if coded else ""


def _region(item: Dataset) -> _Region | None:
    kind = text(item, "ValueType")
    if kind not in ("SCOORD", "SCOORD3D"):
        return None
    count = 3 if kind == "SCOORD3D" else 2
    data = item.get("GraphicData")
    values = np.atleast_1d(np.array([] if data is None else data, dtype=np.float64))
    if not len(values) or len(values) % count:
        raise AnnotationError(f"GraphicData of a {kind} must hold groups of {count} numbers, got {len(values)}")
    if not np.isfinite(values).all():
        raise AnnotationError("GraphicData must be finite")
    images = tuple(one for below in items(item, "ContentSequence") for one in _image(below))
    whole = text(item, "PixelOriginInterpretation") == "VOLUME"
    return _Region(text(item, "GraphicType"), values.reshape(-1, count), images, whole)


def _image(item: Dataset) -> list[_Image]:
    """The images of an IMAGE item, one for each frame that it names."""
    if text(item, "ValueType") != "IMAGE":
        return []
    named = needed_items(item, "ReferencedSOPSequence")[0]
    frames = named.get("ReferencedFrameNumber")
    numbers = [1] if frames in (None, "") else [int(n) for n in np.atleast_1d(np.array(frames, dtype=np.int64))]
    if min(numbers) < 1:
        raise AnnotationError(f"frames are counted from 1, got {min(numbers)}")
    return [_Image(instance(named), text(named, "ReferencedSOPClassUID"), number) for number in numbers]


def _marks(
    regions: list[_Region], label: str, content: list[Dataset], dataset: FileDataset
) -> Iterator[tuple[tuple[Reference, Frame, bool], list[Mark]]]:
    """The marks of one group: a flat region on each of its images, all contours in a stack as one object."""
    for points in (True, False):
        chosen = [region for region in regions if (region.graphic_type in _DOTS) == points]
        in_space = [region for region in chosen if region.points.shape[1] == 3]
        if in_space:
            reference, frame = _space(content, dataset)
            yield (reference, frame, points), _joined(label, in_space, points)
        on_image = [region for region in chosen if region.points.shape[1] == 2]
        if any(not region.images for region in on_image):
            raise AnnotationError("a region does not say on which image it is drawn")
        stacked = [region for region in on_image if _on_slices(region)]
        if stacked:
            reference = Reference(
                instances=tuple(image.instance for region in stacked for image in region.images),
                frames=tuple(image.frame for region in stacked for image in region.images),
            )
            yield (reference, "frame_px", points), _joined(label, _numbered(stacked), points)
        for region in on_image:
            if not _on_slices(region):
                marks = dicom_graphics.mark(label, region.graphic_type, region.points)
                for image in dict.fromkeys(region.images):
                    yield (reference_to([image.instance]), "edge_px", points), marks


def _on_slices(region: _Region) -> bool:
    """Whether only the image's header says where a region lies: on slices of a volume, or on one tile of a slide."""
    kinds = {kind_of(image.sop_class) for image in region.images}
    if "slide" in kinds:
        return not region.whole_slide
    return bool(kinds & {"slice", "enhanced"})


def _numbered(regions: list[_Region]) -> list[_Region]:
    """The same regions with the number of their image as third coordinate, once for each of their images."""
    found: list[_Region] = []
    for region in regions:
        flat = region.points
        if region.graphic_type not in _DOTS:
            flat = dicom_graphics.outline(region.graphic_type, flat)
        for image in region.images:
            points = np.column_stack([flat, np.full(len(flat), float(len(found)))])
            kind = region.graphic_type if region.graphic_type in _DOTS else "POLYLINE"
            found.append(_Region(kind, points, (image,), region.whole_slide))
    return found


def _joined(label: str, regions: list[_Region], points: bool) -> list[Mark]:
    if points:
        return [mark for region in regions for mark in dicom_graphics.mark(label, region.graphic_type, region.points)]
    outlines = [dicom_graphics.outline(region.graphic_type, region.points) for region in regions]
    return [Mark(label, np.concatenate(outlines), "polygon", rings=tuple(map(len, outlines)))]


def _space(content: list[Dataset], dataset: FileDataset) -> tuple[Reference, Frame]:
    """The images that a region in space belongs to: the group's own, else those that the report is evidence of."""
    images = [one for item in content if _concept(item) not in _SEGMENTS for one in _image(item)]
    series = [text(item, "UID") for item in content if _concept(item) == _SOURCE_SERIES]
    evidence = [] if images or series else _evidence(dataset)
    named = images or evidence
    on_slide = any(kind_of(image.sop_class) == "slide" for image in named)
    reference = reference_to([one.instance for one in named], (uid_digest(series[0]) or "") if series else "")
    return reference, "slide_mm" if on_slide else "lps_mm"


def _evidence(dataset: FileDataset) -> list[_Image]:
    found = [
        _Image(instance(one), text(one, "ReferencedSOPClassUID"), 1)
        for study in items(dataset, "CurrentRequestedProcedureEvidenceSequence")
        for series in items(study, "ReferencedSeriesSequence")
        for one in items(series, "ReferencedSOPSequence")
    ]
    return [one for one in found if kind_of(one.sop_class) in ("slice", "enhanced", "plane", "slide")]
