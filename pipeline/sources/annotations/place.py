"""Marks → annotations on a volume's own grid.

==========  ==========================================================================================================
kind        box along the array axes, in continuous voxel indices
==========  ==========================================================================================================
point       `POINT_BOX_VOXELS` around it, ``from_points``
sphere      its diameters / spacing around its centre
box         bounds of all its corners: of a box along the world's axes, too, on a grid that lies oblique to them
polygon     bounds of all its vertices. In ``edge_px`` vertices are edges of pixels; in mm they are the drawn line, and
            a slab reaches half a slice beyond it along the contour's normal. Where no thickness is stated, contours
            that lie in planes of the array stand for their slices and reach half a voxel beyond them.
==========  ==========================================================================================================

Nothing is clipped: an object that reaches beyond the image keeps its box, and a note counts it. An object whose centre
lies outside is not of this image: then nothing of the set is used.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import AnnotationError, GeometryError
from pipeline.geometry import Boxes, Grid
from pipeline.geometry.frames import lps_to_ras
from pipeline.sources.annotations.marks import Frame, Mark, MarkSet
from pipeline.types import LabelMap, Points
from pipeline.volumes import UNLABELLED, Annotations

# Centres say nothing of size; an experiment may override this nominal edge (data.point_box).
POINT_BOX_VOXELS = 12.0
_SLACK_VOXEL = 1e-4  # what coordinates written with six digits are off
# A contour lies in a plane of the array, and its normal along an axis, if it is off by no more than this.
_FLAT_VOXEL = 1e-3
_PARALLEL = 1e-4
_IN_MM: tuple[Frame, ...] = ("lps_mm", "ras_mm", "slide_mm")
_PIXEL_AXES: dict[Frame, tuple[int, ...]] = {"index": (2, 3), "edge_px": (2, 3), "slide_mm": (2,)}


@dataclass(frozen=True, eq=False)
class Placed:
    """Annotations on a volume's grid, and the label map ``(i, j[, k])`` where there is one.

    The n-th of its positive values, ascending, is where annotation n lies. A path is that of a file by `write_array`,
    with a leading axis of 1, to be moved.
    """

    annotations: Annotations
    notes: tuple[str, ...] = ()
    label_map: LabelMap | Path | None = None


def place(marks: MarkSet, grid: Grid, attributes: dict[str, str], label: str = "") -> Placed:
    """The marks on ``grid``, without label map.

    Args:
        marks: in any frame but ``frame_px``.
        grid: the volume's own.
        attributes: the volume's own: where a slide lies on the glass.
        label: the class of objects whose file names none; `UNLABELLED` by default.

    Raises:
        AnnotationError: a frame or number of axes that does not fit the volume, an image of another size, an object
            without extent or with its centre outside the volume.
    """
    _check_frame(marks, grid)
    if not marks.marks:
        return Placed(Annotations.none(grid), marks.notes)
    lower, upper = _bounds(marks, grid, attributes)
    lower, upper, thickened = _with_extent(lower, upper, marks, grid, attributes)
    centres, end = (lower + upper) / 2, np.array(grid.shape) - 0.5
    outside = ((centres < -0.5 - _SLACK_VOXEL) | (centres > end + _SLACK_VOXEL)).any(axis=1)
    if outside.any():
        raise AnnotationError(
            f"{int(outside.sum())} of {len(outside)} objects have their centre outside the image of {grid.shape} "
            f"voxels, e.g. object {int(np.argmax(outside)) + 1} at index {np.round(centres[outside][0], 2).tolist()}"
        )
    beyond = ((lower < -0.5 - _SLACK_VOXEL) | (upper > end + _SLACK_VOXEL)).any(axis=1)
    beyond &= np.array([mark.kind != "point" for mark in marks.marks])
    notes = [f"{int(beyond.sum())} objects reach beyond the image"] if beyond.any() else []
    notes += [f"{thickened} contours state no thickness, taken as that of the image's slices"] if thickened else []
    labels = tuple(mark.label or label or UNLABELLED for mark in marks.marks)
    ignore = np.array([mark.ignore for mark in marks.marks])
    points = marks.from_points or any(mark.kind == "point" for mark in marks.marks)
    return Placed(Annotations(Boxes(lower, upper, grid), labels, ignore, points), (*marks.notes, *notes))


def to_index(points: Points, frame: Frame, grid: Grid, attributes: dict[str, str]) -> Points:
    """Points ``(n, d)`` in ``frame`` → continuous voxel indices ``(n, d)`` on ``grid``."""
    if frame == "index":
        return points
    if frame == "edge_px":
        return points - 0.5
    if frame == "slide_mm":
        from pipeline.sources.dicom.slide_frame import slide_to_index

        try:
            return slide_to_index(points, grid, attributes)
        except GeometryError as error:
            raise AnnotationError(str(error)) from error
    return grid.to_voxel(lps_to_ras(points) if frame == "lps_mm" else points)


def contours(points: Points, rings: tuple[int, ...]) -> list[Points]:
    """The contours that ``points`` are the vertices of, by the number of vertices of each."""
    if not rings:
        return [points]
    return np.split(points, np.cumsum(rings)[:-1])


def _check_frame(marks: MarkSet, grid: Grid) -> None:
    fitting = [frame for frame, axes in _PIXEL_AXES.items() if grid.dims in axes]
    fitting += ["lps_mm", "ras_mm"] if grid.dims == 3 and grid.unit == "mm" else []
    if marks.frame not in fitting:
        raise AnnotationError(
            f"the frame must be one of {', '.join(fitting)} for an image of {grid.dims} axes, got {marks.frame}"
        )
    if marks.shape and marks.shape != grid.shape:
        raise AnnotationError(f"the file speaks of an image of {marks.shape} pixels, this one has {grid.shape}")
    axes = {mark.points.shape[1] for mark in marks.marks}
    if axes and axes != {grid.dims} and marks.frame != "slide_mm":
        raise AnnotationError(f"the objects have {axes.pop()} coordinates, the image {grid.dims} axes")


def _bounds(marks: MarkSet, grid: Grid, attributes: dict[str, str]) -> tuple[Points, Points]:
    outlines = [_outline(mark, marks.frame, grid) for mark in marks.marks]
    starts = np.cumsum([0, *(len(one) for one in outlines[:-1])])
    indices = to_index(np.concatenate(outlines), marks.frame, grid, attributes)
    lower, upper = np.minimum.reduceat(indices, starts), np.maximum.reduceat(indices, starts)
    half = np.array([_half_edges(mark, grid) for mark in marks.marks])
    return lower - half, upper + half


def _outline(mark: Mark, frame: Frame, grid: Grid) -> Points:
    """Points in the mark's frame whose bounds are the object's."""
    if mark.kind == "box" and len(mark.points) == 2 and frame in _IN_MM:
        picks = np.array(list(itertools.product((0, 1), repeat=mark.points.shape[1])))
        return np.take_along_axis(mark.points, picks, axis=0)
    if mark.slab_mm and mark.points.shape[1] == 3:
        if frame not in ("lps_mm", "ras_mm"):
            raise AnnotationError(f"contours in {frame} cannot have a thickness in mm")
        reach = mark.slab_mm * _normal(mark, frame, grid)
        return np.concatenate([mark.points - reach, mark.points + reach])
    return mark.points


def _normal(mark: Mark, frame: Frame, grid: Grid) -> np.ndarray:
    """Unit normal ``(3,)`` of the largest contour, in the mark's frame; along the slices for one without area.

    Newell's area vector: the sum of the cross products of neighbouring vertices.
    """
    axes = grid.affine[:3, :3] / grid.spacing
    axes = lps_to_ras(axes.T).T if frame == "lps_mm" else axes
    # About each contour's first vertex, so that far-away coordinates cancel no digits.
    rings = [ring - ring[0] for ring in contours(mark.points, mark.rings)]
    areas = [np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) for ring in rings]
    largest = max(areas, key=lambda area: float(np.linalg.norm(area)))
    length = np.linalg.norm(largest)
    if length < _FLAT_VOXEL * grid.spacing.min() ** 2:
        return axes[:, 2]
    normal = largest / length
    along = np.abs(axes.T @ normal)
    return axes[:, int(np.argmax(along))] if along.max() > 1 - _PARALLEL**2 else normal


def _half_edges(mark: Mark, grid: Grid) -> np.ndarray:
    if mark.kind == "point":
        return np.full(grid.dims, POINT_BOX_VOXELS / 2)
    if mark.size is None:
        return np.zeros(grid.dims)
    if grid.unit != "mm" or len(mark.size) not in (1, grid.dims):
        raise AnnotationError("a diameter in mm needs an image in mm, and one value or one for each of its axes")
    return np.array(mark.size) / grid.spacing / 2


def _with_extent(
    lower: Points, upper: Points, marks: MarkSet, grid: Grid, attributes: dict[str, str]
) -> tuple[Points, Points, int]:
    """Bounds that have an extent along every axis, and how many contours took that of their slices."""
    thickened = 0
    for number, mark in enumerate(marks.marks):
        axis = _slice_axis(mark, marks.frame, grid, attributes)
        if axis is not None:
            lower[number, axis] -= 0.5
            upper[number, axis] += 0.5
            thickened += 1
    flat = (upper - lower <= 0).any(axis=1)
    if flat.any():
        raise AnnotationError(f"{int(flat.sum())} objects have no extent, e.g. object {int(np.argmax(flat)) + 1}")
    return lower, upper, thickened


def _slice_axis(mark: Mark, frame: Frame, grid: Grid, attributes: dict[str, str]) -> int | None:
    """The array axis along which every contour of a polygon of unknown thickness is flat."""
    if mark.kind != "polygon" or mark.slab_mm or grid.dims != 3 or frame == "edge_px":
        return None
    rings = contours(to_index(mark.points, frame, grid, attributes), mark.rings)
    flat = np.all([np.ptp(ring, axis=0) <= _FLAT_VOXEL for ring in rings], axis=0).tolist()
    return max((axis for axis in range(3) if flat[axis]), default=None)
