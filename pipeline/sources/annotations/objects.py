"""Entries of annotation tables → annotations on a volume's own grid."""

from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.geometry.frames import lps_to_ras
from pipeline.sources.annotations.label_maps import LabelledObjects
from pipeline.volumes import UNLABELLED, Annotations

# Centres say nothing of size; an experiment may override this nominal edge (data.point_box).
POINT_BOX_VOXELS = 12.0
_CLASS_ONLY = "_only"
_FRAMES = {"lps_mm": 3, "ras_mm": 3, "px": 2}
# A label map lies on its image if no corner is further off than this.
_SAME_PLACE_VOXELS = 0.05


def from_centres(rows: list[dict[str, Any]], grid: Grid) -> Annotations:
    """Rows ``x_px, y_px, label`` → nominal boxes around the points, ``from_points`` true.

    ``x_px`` and ``y_px`` count from the edge of the first pixel: index = x − 0.5; the image's outer edges are part of
    it. A label ``<class>_only`` is a point that has a class and is no detection point: it is ignored.

    Raises:
        AnnotationError: not a 2D image, a point outside of it, or a coordinate that is no number.
    """
    if grid.dims != 2:
        raise AnnotationError("centre points in pixels need a 2D image")
    try:
        centres = np.array([[float(row["x_px"]), float(row["y_px"])] for row in rows]) - 0.5
    except ValueError as error:
        raise AnnotationError("x_px and y_px must be numbers") from error
    outside = _outside(centres, grid)
    if outside.any():
        point = (centres[int(np.argmax(outside))] + 0.5).tolist()
        raise AnnotationError(f"{int(outside.sum())} points lie outside the image of {grid.shape} pixels, e.g. {point}")
    names = [str(row["label"]).strip() for row in rows]
    ignore = np.array([name.endswith(_CLASS_ONLY) for name in names], dtype=bool)
    labels = tuple(name.removesuffix(_CLASS_ONLY) or UNLABELLED for name in names)
    boxes = Boxes.around(centres, np.full_like(centres, POINT_BOX_VOXELS), grid)
    return Annotations(boxes, labels, ignore, from_points=True)


def from_boxes(scan: dict[str, Any], grid: Grid) -> Annotations:
    """One scan of ``cellscan-boxes-1``: ``centre`` in its frame, ``size`` the full edges along the ARRAY axes.

    ``lps_mm`` and ``ras_mm``: millimetres in the patient; ``px``: pixel index (0 is the centre of the first pixel) and
    size in pixels. No objects: the scan was looked at and has no finding.

    Raises:
        AnnotationError: an unknown frame, one of other dimensions, malformed objects, or a centre outside the volume.
    """
    frame, objects = scan.get("frame"), scan.get("objects")
    if _FRAMES.get(str(frame)) != grid.dims:
        known = ", ".join(_FRAMES)
        raise AnnotationError(f"the frame must be one of {known} and fit a volume of {grid.dims} axes, got {frame!r}")
    if not isinstance(objects, list):
        raise AnnotationError("expected a list 'objects', empty where there is no finding")
    if not objects:
        return Annotations.none(grid)
    centres, sizes = _numbers(objects, "centre", grid.dims), _numbers(objects, "size", grid.dims)
    if any(one.get("axes", "array") != "array" for one in objects):
        raise AnnotationError("sizes must be given along the array axes ('axes': 'array')")
    if (sizes <= 0).any():
        raise AnnotationError(f"every size must be above 0, got {sizes.min()}")
    if frame != "px":
        centres = grid.to_voxel(lps_to_ras(centres) if frame == "lps_mm" else centres)
        sizes = sizes / grid.spacing
    outside = _outside(centres, grid)
    if outside.any():
        raise AnnotationError(f"object {int(np.argmax(outside))} has its centre outside the volume")
    labels = tuple(str(one.get("label") or UNLABELLED) for one in objects)
    return Annotations.of(Boxes.around(centres, sizes, grid), labels)


def from_label_map(objects: LabelledObjects, grid: Grid, label: str, classes: dict[int, str] | None) -> Annotations:
    """Objects of a label map on the image's grid.

    Args:
        objects: as read; in 3D its own affine must be the image's.
        grid: the image's.
        label: the class of every object where ``classes`` is `None`.
        classes: the class of each value.

    Raises:
        AnnotationError: another shape or place than the image's, or a value without class.
    """
    if objects.grid.shape != grid.shape:
        raise AnnotationError(f"the label map has shape {objects.grid.shape}, its image {grid.shape}")
    if grid.dims == 3:
        far = np.diag(np.array(grid.shape, dtype=float))
        corners = np.vstack([np.zeros(3), far.sum(axis=0), far])
        apart = np.linalg.norm(objects.grid.to_world(corners) - grid.to_world(corners), axis=1).max()
        if apart > _SAME_PLACE_VOXELS * grid.spacing.min():
            raise AnnotationError(f"the label map lies up to {apart:.2f} mm beside its image")
    boxes = Boxes(objects.boxes.lower, objects.boxes.upper, grid)
    if classes is None:
        return Annotations.of(boxes, (label,) * len(boxes))
    missing = [int(value) for value in objects.values if int(value) not in classes]
    if missing:
        raise AnnotationError(f"{len(missing)} values of the label map have no class, e.g. {missing[0]}")
    return Annotations.of(boxes, tuple(classes[int(value)] for value in objects.values))


def label_classes(rows: list[dict[str, Any]]) -> dict[int, str]:
    """Rows ``value, label`` → class by value."""
    try:
        return {int(row["value"]): str(row["label"]).strip() or UNLABELLED for row in rows}
    except ValueError as error:
        raise AnnotationError("column value must hold whole numbers") from error


def _outside(centres: np.ndarray, grid: Grid) -> np.ndarray:
    """Which centres ``(n, d)`` are not in the closed extent ``[-0.5, shape - 0.5]``; NaN is outside."""
    slack = 1e-6
    inside = (centres >= -0.5 - slack) & (centres <= np.array(grid.shape) - 0.5 + slack)
    return np.asarray(~inside.all(axis=1))


def _numbers(objects: list[Any], key: str, count: int) -> np.ndarray:
    try:
        values = np.array([[float(value) for value in one[key]] for one in objects])
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise AnnotationError(f"every object needs {count} numbers as {key!r}") from error
    if values.shape != (len(objects), count) or not np.isfinite(values).all():
        raise AnnotationError(f"every object needs {count} finite numbers as {key!r}")
    return values
