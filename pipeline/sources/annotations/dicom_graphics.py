"""The shapes of DICOM annotations (PS3.3 C.18.6.1.2, C.18.9.1.2, C.37.1.2.1.1) → marks that hold their extent."""

import itertools

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.marks import Mark

# Outlines of tilted 3D ellipses are drawn with so many vertices: their extent is short by 4e-5 of it at most, that of
# ellipsoids, which take every second one each way, by 3e-4.
_VERTICES = 360
_POINTS = {"POINT": (1, 1), "MULTIPOINT": (1, None), "CIRCLE": (2, 2), "ELLIPSE": (4, 4), "ELLIPSOID": (6, 6)}
_LINES = {"POLYLINE": 2, "POLYGON": 3}


def check_count(graphic_type: str, count: int) -> None:
    """Raise `AnnotationError` unless the shape is known and has a fitting number of points."""
    fewest, most = _POINTS.get(graphic_type) or (_LINES.get(graphic_type, 0), None)
    if not fewest:
        raise AnnotationError("the graphic type is none that DICOM defines")
    if count < fewest or (most is not None and count > most):
        expected = f"{fewest}" if most == fewest else f"at least {fewest}"
        raise AnnotationError(f"a {graphic_type} must have {expected} points, got {count}")


def outline(graphic_type: str, points: np.ndarray) -> np.ndarray:
    """Vertices ``(m, d)`` with the extent of one shape, in the frame of its points ``(n, d)``.

    Lines and polygons are their own. A circle (centre, a point on it) and a 2D ellipse (ends of the major, then of the
    minor axis) become the corners of their exact bounding rectangle, a 3D ellipse many vertices on it, an ellipsoid
    (ends of three axes) many points of its surface.
    """
    check_count(graphic_type, len(points))
    if graphic_type == "CIRCLE":
        return _rectangle(points[0], np.full(2, np.linalg.norm(points[1] - points[0])))
    if graphic_type not in ("ELLIPSE", "ELLIPSOID"):
        return points
    pairs = points.reshape(-1, 2, points.shape[1])
    centre, half_axes = pairs.mean(axis=(0, 1)), (pairs[:, 1] - pairs[:, 0]) / 2
    if graphic_type == "ELLIPSE" and points.shape[1] == 2:
        return _rectangle(centre, np.sqrt((half_axes**2).sum(axis=0)))
    turns = np.arange(_VERTICES) * 2 * np.pi / _VERTICES
    circle = np.column_stack([np.cos(turns), np.sin(turns)])
    return centre + (circle if graphic_type == "ELLIPSE" else _sphere(circle)) @ half_axes


def mark(label: str, graphic_type: str, points: np.ndarray) -> list[Mark]:
    """The marks of one shape: one for each point, or one polygon."""
    if graphic_type in ("POINT", "MULTIPOINT"):
        check_count(graphic_type, len(points))
        return [Mark(label, point[None], "point") for point in points]
    return [Mark(label, outline(graphic_type, points), "polygon")]


def _rectangle(centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return centre + signs * half


def _sphere(circle: np.ndarray) -> np.ndarray:
    """Points of the unit sphere, its poles and equator among them."""
    rings = circle[: _VERTICES // 2 + 1 : 2]
    around = circle[::2]
    return np.array([(a * sine, b * sine, cosine) for (cosine, sine), (a, b) in itertools.product(rings, around)])
