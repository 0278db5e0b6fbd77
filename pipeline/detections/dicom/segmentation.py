"""Outlines → a DICOM Segmentation (PS3.3 A.51), BINARY, a segment a class: for pictures and slides.

A pixel is in a segment where its centre lies in an outline (see `pipeline.detections.outlines`). Objects of a class
that touch are one there: a report or bulk annotations tell them apart. Boxes make no masks, and a picture without
detections has no segments, which the standard wants: of both there is no such object.
"""

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes
from pipeline.detections.dicom.identity import Author, algorithm_of, common, identify, settle, subject
from pipeline.detections.outlines import filled
from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom.origin import Origin
from pipeline.sources.dicom.sop_classes import kind_of

SERIES_NUMBER = 7002
# A mask takes a byte a pixel and class while it is made.
LARGEST_PIXELS = 1 << 27
_TILE = 512


def segmentation(detections: Detections, origin: Origin, author: Author) -> Dataset | None:
    """The object as a data set that is ready to be saved; `None` without detections.

    Raises:
        SourceError: the detections are boxes, or the picture is too large or in several files.
    """
    if detections.outlines is None:
        raise SourceError("the version gives boxes, and masks of them would be invented: use a report (dicom-sr)")
    if len(origin.instances) > 1:
        raise SourceError("the picture is written in several files, and a segmentation needs one to lie on")
    grid = detections.boxes.grid
    if np.prod(grid.shape) > LARGEST_PIXELS:
        raise SourceError(
            f"a mask of {grid.shape[0]} x {grid.shape[1]} pixels is too large (at most {LARGEST_PIXELS} pixels): "
            "use bulk annotations (dicom-ann)"
        )
    used = np.unique(detections.labels).tolist()
    if not used:
        return None
    identity = identify("SEG", origin, detections, author)
    slide = kind_of(origin.instances[0].sop_class) == "slide"
    made = hd.seg.Segmentation(
        source_images=[_source(origin, grid, slide)],
        pixel_array=_masks(detections, used),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(detections, label, n, author) for n, label in enumerate(used, start=1)],
        content_label="DETECTIONS",
        tile_pixel_array=slide,
        tile_size=(_TILE, _TILE) if slide else None,
        coding_schemes=codes.own_schemes(),
        **common(identity, author, SERIES_NUMBER, "Outlines"),
    )
    for item in (*made.get("DimensionOrganizationSequence", ()), *made.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = identity.part("dimensions")  # highdicom's is random
    if "PatientOrientation" not in made:
        made.PatientOrientation = ""  # a picture that is not placed in the patient must say so (C.7.6.1.1.1)
    return settle(made, identity)


def _masks(detections: Detections, used: list[int]) -> np.ndarray:
    """``(1, row, column, class)`` of 0 and 1."""
    assert detections.outlines is not None
    grid = detections.boxes.grid
    masks = np.zeros((1, grid.shape[1], grid.shape[0], len(used)), np.uint8)
    for number, label in enumerate(used):
        pixels, _ = filled(detections.outlines[detections.labels == label], grid.shape)
        masks[0, pixels % grid.shape[1], pixels // grid.shape[1], number] = 1
    return masks


def _described(detections: Detections, label: int, number: int, author: Author) -> hd.seg.SegmentDescription:
    coded = codes.coded(detections.classes[label])
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=detections.classes[label][:64],
        segmented_property_category=coded.category,
        segmented_property_type=coded.type,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm_of(author),
    )


def _source(origin: Origin, grid: Grid, slide: bool) -> Dataset:
    """The header that highdicom takes size and place from."""
    made = subject(origin)
    if not slide:
        return made
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [float(one) for one in grid.spacing[::-1]], 0.001
    shared.PixelMeasuresSequence = Sequence([measures])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    made.NumberOfFrames = origin.instances[0].frames
    made.DimensionOrganizationType = "TILED_FULL"
    return made
