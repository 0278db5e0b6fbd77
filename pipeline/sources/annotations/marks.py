"""What an annotation file says, before it is laid on a volume: every reader of this package returns these.

A reader is ``read_<format>(path) -> list[MarkSet | LabelMapSet]``. It runs in the child, knows no volume, and raises
`AnnotationError` with the reason; `place` turns what it says into boxes on the volume's own grid. Where a file speaks
of many images, a reader gives a `Refused` in the place of an entry that is wrong, so that the others are used.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid

# index:    continuous voxel index along the array axes (i, j[, k]); 0 is the CENTRE of the first voxel.
# edge_px:  pixels (x, y) of a 2D image; 0 is the OUTER EDGE of the first pixel, so index = x - 0.5.
# lps_mm:   DICOM's patient frame; ras_mm: NIfTI's. Both in millimetres.
# slide_mm: DICOM's slide coordinate system in millimetres (PS3.3 C.8.12.2.1).
# frame_px: (x, y, n): edge_px on the n-th image of the reference, that is on frame `frames[n]` of `instances[n]`. Only
#           that image's header says where it lies: `dicom_planes.resolved` turns such a set into lps_mm or edge_px.
Frame = Literal["lps_mm", "ras_mm", "index", "edge_px", "slide_mm", "frame_px"]
Kind = Literal["point", "box", "polygon", "sphere"]


@dataclass(frozen=True, eq=False)
class Mark:
    """One object as its file states it.

    ``points`` is ``(m, d)`` in the frame of its `MarkSet`: a point or the centre of a sphere (``m == 1``); 2 opposite
    corners of a box along the axes of that frame, or all ``2**d`` corners; the vertices of all contours of a polygon.
    ``size`` holds the diameter of a sphere in mm, or one diameter along each array axis, `None` else. ``slab_mm`` is
    half of the slice thickness: contours are widened by it along their normal, each way; 0 where the file states none.
    ``ignore``: neither missed when not found, nor false when found. ``rings`` counts the vertices of each contour of a
    polygon, in order; empty where it is one contour. An empty ``label`` says that the file names no class.

    Raises:
        AnnotationError: points of another number or shape than the kind has, or not finite; sizes not above 0.
    """

    label: str
    points: np.ndarray
    kind: Kind
    size: tuple[float, ...] | None = None
    ignore: bool = False
    slab_mm: float = 0.0
    rings: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3) or not np.isfinite(points).all():
            raise AnnotationError(f"a {self.kind} needs finite points of 2 or 3 coordinates, got shape {points.shape}")
        if not _fits(self.kind, len(points), points.shape[1]):
            raise AnnotationError(f"a {self.kind} of {points.shape[1]} axes cannot have {len(points)} points")
        if (self.kind == "sphere") != (self.size is not None):
            raise AnnotationError("a sphere needs diameters, and nothing else has them")
        if self.size is not None and not (np.isfinite(self.size).all() and min(self.size) > 0):
            raise AnnotationError(f"every diameter must be finite and above 0, got {min(self.size)}")
        if not (np.isfinite(self.slab_mm) and self.slab_mm >= 0):
            raise AnnotationError(f"a slice thickness must be finite and not below 0, got {2 * self.slab_mm}")
        if self.rings and (sum(self.rings) != len(points) or min(self.rings) < 1):
            raise AnnotationError(f"contours of {sum(self.rings)} vertices do not make {len(points)} points")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)


@dataclass(frozen=True)
class Reference:
    """Which image is meant; exactly one is set.

    ``file``: a path, name or stem as written, or a volume's id; `BESIDE` stands for the image that the annotation
    file's own name and place mean. ``series`` and ``instances``: `uid_digest` of the UIDs. ``frames`` goes with marks
    in ``frame_px``: the number from 1 of a frame of each instance, 1 where the instance is one picture.
    """

    file: str = ""
    series: str = ""
    instances: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if sum((bool(self.file), bool(self.series), bool(self.instances))) != 1:
            raise AnnotationError("an entry must name a file, a series or instances: exactly one of them")


BESIDE = Reference(file=".")


@dataclass(frozen=True, eq=False)
class MarkSet:
    """What one file says of one image. No marks: it was looked at and has no finding.

    ``from_points``: only centres are given, so that sizes are nominal. ``shape`` is the image's ``(i, j[, k])`` as the
    file states it, empty where it does not: marks of an image of another size are not used.
    """

    reference: Reference
    frame: Frame
    marks: tuple[Mark, ...]
    from_points: bool = False
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.frame not in get_args(Frame):
            raise ValueError(f"frame must be one of {', '.join(get_args(Frame))}, got {self.frame!r}")
        if len({mark.points.shape[1] for mark in self.marks}) > 1:
            raise AnnotationError("marks of one image must all have 2 or all have 3 coordinates")


@dataclass(frozen=True, eq=False)
class LabelMapSet:
    """A raster in its own grid.

    ``label_map`` is ``(i, j, k)`` or ``(i, j)``: 0 is background, each positive value one object. ``labels`` holds the
    class of each value; values without one, or with an empty one, take the generic label of the image. ``ignore`` are
    the values of objects that are neither missed when not found, nor false when found.
    """

    reference: Reference
    label_map: np.ndarray
    grid: Grid
    labels: dict[int, str]
    notes: tuple[str, ...] = ()
    ignore: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.label_map.dtype.kind not in "iu" or self.label_map.shape != self.grid.shape:
            raise AnnotationError(
                f"a label map must hold whole numbers of its grid's shape {self.grid.shape}, "
                f"got {self.label_map.dtype} of {self.label_map.shape}"
            )


@dataclass(frozen=True)
class Refused:
    """What a file says of one image and cannot be taken, and why; ``reason`` quotes no name."""

    reason: str


def _fits(kind: Kind, count: int, dims: int) -> bool:
    if kind == "box":
        return count in (2, 2**dims)
    return count == 1 if kind in ("point", "sphere") else count >= 1
