"""DICOM Segmentation and Label Map Segmentation (PS3.3 A.51, C.8.20) → label maps.

What becomes an object: a segment with a tracking identity is one object. Any other segment is one object in the
patient (it may have several pieces), and on a slide or a picture each of its 8-connected components is one, since a
segment there means a class ("nuclei"). Background segments (DCM 125040) are none.

An object's class is the coded property type of its segment; where that says no more than "tissue", which editors
write by default, it is the segment's label.

Fractional segmentations, of probability or occupancy alike: a voxel belongs from half of the maximum on.
"""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_references import (
    code,
    instance,
    items,
    meaning,
    needed_items,
    open_annotation,
    reading,
    reference_to,
    referenced_series,
)
from pipeline.sources.annotations.dicom_seg_frames import Frames
from pipeline.sources.annotations.dicom_seg_layers import Segment, Segmented
from pipeline.sources.annotations.dicom_seg_places import frame_groups, places_of
from pipeline.sources.annotations.dicom_seg_slides import objects_of_tiles
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference
from pipeline.sources.dicom.header import text, whole_number

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
# Larger slides come as boxes: a mask of every pixel would take gigabytes.
LARGEST_RASTER = 1 << 27
_WHAT = "DICOM segmentation"
_BACKGROUND = ("125040", "DCM")
_UNSPECIFIC = {("85756007", "SCT"), ("T-D0050", "SRT"), ("T-D0050", "SNM3")}  # "Tissue"


def read_seg(path: Path) -> list[LabelMapSet | MarkSet]:
    """The label maps of one file, on the lattice of its own frames; several where segments overlap.

    In the patient: ``(i, j, k)`` in RAS mm, ``k`` along the frames' normal, from the first to the last frame. On a
    slide: ``(i, j)``, the whole total pixel matrix in mm; above `LARGEST_RASTER` pixels boxes in ``edge_px`` instead.
    On a picture: ``(i, j)``, in mm where PixelSpacing is stated, else in pixels. No object: looked at, nothing found.

    Raises:
        AnnotationError: damaged, contradictory, or larger than may be; frames that make no one raster.
    """
    with reading(_WHAT):
        dataset = open_annotation(path, (SEGMENTATION, LABEL_MAP), _WHAT, pixels=True)
        segments, frames = _segments(dataset), Frames(dataset)
        groups = frame_groups(dataset, frames.count)
        found = Segmented(dataset, frames, groups, places_of(dataset, frames, groups), segments)
        notes = found.places.notes
        if found.kind == "FRACTIONAL":
            notes = (*notes, "a fractional segmentation: voxels from half of the maximum on were taken")
        reference, grid = _reference(dataset), found.places.grid
        if grid.dims == 2 and np.prod(grid.shape) > LARGEST_RASTER:
            return [_boxes(found, reference, notes)]
        sets: list[LabelMapSet | MarkSet] = []
        for layer in found.layers():
            label_map, labels = _objects(layer, segments)
            sets.append(LabelMapSet(reference, label_map, grid, labels, notes))
        return sets


def _segments(dataset: FileDataset) -> tuple[Segment, ...]:
    found = tuple(
        Segment(
            whole_number(one, "SegmentNumber"),
            _label(one),
            bool(text(one, "TrackingUID")),
            code(one, "SegmentedPropertyTypeCodeSequence") == _BACKGROUND,
        )
        for one in needed_items(dataset, "SegmentSequence")
    )
    if len({one.number for one in found}) < len(found):
        raise AnnotationError("two segments have one SegmentNumber")
    return found


def _label(segment: Dataset) -> str:
    own = text(segment, "SegmentLabel")
    coded = meaning(segment, "SegmentedPropertyTypeCodeSequence")
    unspecific = code(segment, "SegmentedPropertyTypeCodeSequence") in _UNSPECIFIC
    return own or coded if unspecific else coded or own


def _reference(dataset: FileDataset) -> Reference:
    """The images that the frames were derived from, else all images that the file refers to."""
    holders = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    sources = [
        instance(source)
        for group in (group for holder in holders for group in items(dataset, holder))
        for derivation in items(group, "DerivationImageSequence")
        for source in items(derivation, "SourceImageSequence")
    ]
    named = referenced_series(dataset)
    listed = [one for _, instances in named for one in instances]
    direct = [instance(one) for one in items(dataset, "SourceImageSequence")]
    series = next((series for series, _ in named if series), "")
    return reference_to(sources or listed or direct, series)


def _objects(layer: np.ndarray, segments: tuple[Segment, ...]) -> tuple[np.ndarray, dict[int, str]]:
    """A raster of segments → one of objects, and the class of each."""
    if layer.ndim == 2 and not all(segment.tracked for segment in segments):
        return _components(layer, segments)
    present = np.unique(layer.ravel(order="K")).tolist()
    return layer, {value: segments[value - 1].label for value in present if value}


def _components(layer: np.ndarray, segments: tuple[Segment, ...]) -> tuple[np.ndarray, dict[int, str]]:
    from scipy import ndimage

    out = np.zeros(layer.shape, dtype=np.int32)
    labels: dict[int, str] = {}
    for position, window in enumerate(ndimage.find_objects(layer), start=1):
        if window is None:
            continue
        segment, mask = segments[position - 1], layer[window] == position
        pieces, count = (mask.astype(np.int32), 1) if segment.tracked else ndimage.label(mask, np.ones((3, 3)))
        out[window][mask] = pieces[mask] + len(labels)
        labels.update(dict.fromkeys(range(len(labels) + 1, len(labels) + count + 1), segment.label))
    return out, labels


def _boxes(found: Segmented, reference: Reference, notes: tuple[str, ...]) -> MarkSet:
    whole = frozenset(value for value, segment in enumerate(found.segments, start=1) if segment.tracked)
    size = (found.frames.columns, found.frames.rows)
    boxes = objects_of_tiles(found.tiles(), size, whole)
    marks = tuple(Mark(found.segments[value - 1].label, box, "box") for value, box in boxes)
    return MarkSet(reference, "edge_px", marks, notes=(*notes, "the slide is too large for a mask: boxes were taken"))
