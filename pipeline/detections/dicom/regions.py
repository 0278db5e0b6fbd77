"""The shapes of detections in a report: where they are drawn, and on which image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.detections.detection import Detections
from pipeline.detections.dicom.identity import derived_uid
from pipeline.detections.dicom.places import SliceImage
from pipeline.geometry.frames import ras_to_lps
from pipeline.sources.dicom.origin import Origin, OriginInstance
from pipeline.sources.dicom.sop_classes import kind_of

Regions = Literal["surface", "slices"]
_RECTANGLE = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
# Corners (i, j, k) around each face of a box, 0 lower and 1 upper.
_FACES = np.array([np.insert(_RECTANGLE, axis, end, axis=1) for axis in range(3) for end in (0, 1)])


@dataclass(frozen=True, eq=False)
class Region:
    """A closed line: its first point is its last.

    ``points`` are ``(m, 2)`` columns and rows from the outer edge of the image's first pixel (on a slide of the total
    pixel matrix), or ``(m, 3)`` LPS mm; ``frame`` counts from 1.
    """

    points: np.ndarray
    instance: OriginInstance
    frame: int | None = None
    on_slide: bool = False


def regions(detections: Detections, n: int, origin: Origin, images: list[SliceImage], kind: Regions) -> list[Region]:
    """The regions of one detection; ``images`` are those of a volume's slices."""
    if detections.boxes.grid.dims == 2:
        image = origin.instances[0]
        return [Region(_edge_px(detections, n), image, on_slide=kind_of(image.sop_class) == "slide")]
    return _faces(detections, n, images) if kind == "surface" else _on_slices(detections, n, images)


def frame_of_reference(origin: Origin) -> str:
    """The images' own; where they state none, one that depends on their series alone."""
    stated = origin.dataset().get("FrameOfReferenceUID")
    return str(stated) if stated else derived_uid("frame of reference", origin.instances[0].series_uid)


def _edge_px(detections: Detections, n: int) -> np.ndarray:
    if detections.outlines is not None:
        corners = detections.outlines[n] + 0.5
        return np.concatenate([corners, corners[:1]])
    lower, upper = detections.boxes.lower[n], detections.boxes.upper[n]
    return np.asarray(lower + _RECTANGLE * (upper - lower) + 0.5)


def _faces(detections: Detections, n: int, images: list[SliceImage]) -> list[Region]:
    boxes = detections.boxes
    corners = boxes.lower[n] + _FACES.reshape(-1, 3) * (boxes.upper[n] - boxes.lower[n])
    faces = ras_to_lps(boxes.grid.to_world(corners)).reshape(6, 5, 3)
    image = images[_middle(detections, n)]
    return [Region(_closed(face), image.instance, image.frame) for face in faces]


def _on_slices(detections: Detections, n: int, images: list[SliceImage]) -> list[Region]:
    grid = detections.boxes.grid
    lower, upper = detections.boxes.lower[n], detections.boxes.upper[n]
    first, last = max(int(np.ceil(lower[2])), 0), min(int(np.floor(upper[2])), grid.shape[2] - 1)
    flat = lower[:2] + _RECTANGLE * (upper - lower)[:2]
    found = []
    for k in range(first, last + 1) if first <= last else [_middle(detections, n)]:
        lps = ras_to_lps(grid.to_world(np.column_stack([flat, np.full(len(flat), float(k))])))
        points = images[k].to_edge_px(lps, grid.spacing[:2])
        found.append(Region(_closed(points), images[k].instance, images[k].frame))
    return found


def _closed(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points[:-1], points[:1]])


def _middle(detections: Detections, n: int) -> int:
    boxes = detections.boxes
    centre = (boxes.lower[n, 2] + boxes.upper[n, 2]) / 2  # of this box alone: all boxes take time for all
    return int(np.clip(np.floor(centre + 0.5), 0, boxes.grid.shape[2] - 1))
