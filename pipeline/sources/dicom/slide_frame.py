"""Where a whole slide picture lies on the glass: DICOM slide coordinates ↔ pixel index.

Slide coordinates: mm, x along the slide's short edge, y along its long edge, z up (DICOM PS3.3 C.8.12.2.1). The origin
of the total pixel matrix is the centre of its first pixel, its orientation the directions of the first row and the
first column (C.8.12.14.1.2).
"""

import numpy as np
from pydicom.dataset import Dataset

from pipeline.errors import GeometryError
from pipeline.geometry import Grid
from pipeline.sources.dicom.header import numbers
from pipeline.types import Points

_ORIGIN, _ORIENTATION = "slide_origin_mm", "slide_orientation"
_UNIT_TOLERANCE = 5e-3


def slide_attributes(dataset: Dataset) -> dict[str, str]:
    """``slide_origin_mm`` (x y) and ``slide_orientation`` (row x y z, column x y z) as text, where both are stated.

    Raises:
        GeometryError: the directions are no unit vectors at right angles.
    """
    orientation = numbers(dataset, "ImageOrientationSlide", 6)
    items = dataset.get("TotalPixelMatrixOriginSequence") or []
    if orientation is None or not items:
        return {}
    offsets = [numbers(items[0], f"{axis}OffsetInSlideCoordinateSystem", 1) for axis in "XY"]
    if None in offsets:
        return {}
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE or abs(row @ column) > _UNIT_TOLERANCE:
        raise GeometryError(f"ImageOrientationSlide must be two unit vectors at right angles, got {list(orientation)}")
    return {
        _ORIGIN: " ".join(f"{offset[0]:.9g}" for offset in offsets if offset),
        _ORIENTATION: " ".join(f"{one:.9g}" for one in orientation),
    }


def slide_to_index(points_slide_mm: Points, grid: Grid, attributes: dict[str, str]) -> Points:
    """Slide coordinates ``(n, 2 or 3)`` in mm → pixel index ``(n, 2)`` as ``(i, j)``, 0 at the first pixel's centre.

    Args:
        points_slide_mm: x, y and perhaps z, which is left aside: a slide is flat.
        grid: the picture's own.
        attributes: the picture's own, as `slide_attributes` wrote them.

    Raises:
        GeometryError: the picture states no place on the slide, or no pixel size.
    """
    origin, steps = _lattice(grid, attributes)
    return np.linalg.solve(steps, (np.asarray(points_slide_mm)[:, :2] - origin).T).T


def index_to_slide(points_voxel: Points, grid: Grid, attributes: dict[str, str]) -> Points:
    """Pixel index ``(n, 2)`` as ``(i, j)`` → slide coordinates ``(n, 2)`` in mm: the inverse of `slide_to_index`."""
    origin, steps = _lattice(grid, attributes)
    i, j = np.asarray(points_voxel).T
    # Written out: numpy's product of millions of rows with a 2 x 2 matrix takes ten times as long.
    return np.column_stack(
        [start + i * along_i + j * along_j for start, (along_i, along_j) in zip(origin, steps, strict=True)]
    )


def _lattice(grid: Grid, attributes: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel's centre ``(2,)``, and as columns ``(2, 2)`` the way from one pixel to the next along i and j."""
    if grid.unit != "mm" or not {_ORIGIN, _ORIENTATION} <= attributes.keys():
        raise GeometryError(
            "the slide image states no pixel size, origin and orientation: it has no place on the slide"
        )
    origin = np.array(attributes[_ORIGIN].split(), dtype=float)
    orientation = np.array(attributes[_ORIENTATION].split(), dtype=float)
    # The part of the directions that lies in the slide's plane: rows of a 2 x 2 matrix, one a pixel axis.
    axes = np.stack([orientation[:2], orientation[3:5]])
    if abs(np.linalg.det(axes)) < 0.5:
        raise GeometryError(f"ImageOrientationSlide must lie in the slide's plane, got {orientation.tolist()}")
    return origin, axes.T * grid.spacing
