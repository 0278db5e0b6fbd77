"""GeoJSON as QuPath exports it, and as cellscan writes detections: areas and points on one image.

Coordinates are pixels of the full-resolution image from the EDGE of its first pixel (QuPath, "Exporting annotations").
Rectangles and ellipses are polygons there; an ellipse's polygon has the ellipse's bounds. An object on one plane ``z``
of a stack is as thick as that slice. Lines are no objects: they are counted in a note. Classes that end in ``*`` are
ignored, as in QuPath. The image is the one of the file's own name, or the volume that cellscan's export names.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers, read_json
from pipeline.sources.annotations.marks import BESIDE, LabelMapSet, Mark, MarkSet, Reference, Refused

_AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")
_POINTS = ("Point", "MultiPoint")
_LINES = ("LineString", "MultiLineString")
_NO_OBJECTS = ("tile", "root", "tma_core", "tmacoreobject")
_Slab = tuple[float, float]


def is_geojson(document: Any) -> bool:
    if isinstance(document, list):
        return bool(document) and all(_is_feature(one) for one in document)
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        return isinstance(document.get("features"), list)
    return _is_feature(document)


def read_geojson(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set, in ``edge_px``: ``(x, y)``, or ``(x, y, z)`` where an object lies on a plane of a stack.

    Raises:
        AnnotationError: a geometry that is none of GeoJSON's, on several times, or without points.
    """
    document = read_json(path)
    features = document["features"] if isinstance(document, dict) and "features" in document else document
    features = [features] if isinstance(features, dict) else features
    if not all(_is_feature(one) for one in features):
        raise AnnotationError("expected features with a 'geometry'")
    taken = [one for one in features if one["geometry"] and _object_type(one) not in _NO_OBJECTS]
    areas = [one for one in taken if one["geometry"].get("type") not in _LINES]
    slabs = [_slab(one) for one in areas]
    if not any(z not in (None, (0.0, 1.0)) or _has_edges(one) for z, one in zip(slabs, areas, strict=True)):
        slabs = [None] * len(areas)
    elif None in slabs:
        slabs = [z or (0.0, 1.0) for z in slabs]  # QuPath leaves the first plane out
    marks = tuple(mark for one, z in zip(areas, slabs, strict=True) for mark in _marks(one, z))
    notes = (f"{len(features) - len(areas)} features are lines or tiles and no objects",)
    volume = document.get("volume_id") if isinstance(document, dict) else None
    reference = Reference(file=str(volume)) if volume else BESIDE
    points = any(mark.kind == "point" for mark in marks)
    return [MarkSet(reference, "edge_px", marks, points, notes if len(areas) < len(features) else ())]


def _is_feature(one: Any) -> bool:
    geometry = one.get("geometry", 0) if isinstance(one, dict) and one.get("type") == "Feature" else 0
    return geometry is None or isinstance(geometry, dict)


def _marks(feature: dict[str, Any], slab: _Slab | None) -> list[Mark]:
    geometry = feature["geometry"]
    name = _class(feature)
    label, ignore = name.removesuffix("*"), name.endswith("*")
    if geometry.get("type") in _POINTS:
        points = _points([geometry["coordinates"]] if geometry["type"] == "Point" else geometry["coordinates"])
        if slab is not None:
            points = np.column_stack([points, np.full(len(points), sum(slab) / 2)])
        return [Mark(label, point[None], "point", ignore=ignore) for point in points]
    rings = list(_rings(geometry))
    if not rings:
        raise AnnotationError("an area has no points")
    if slab is not None:
        rings = [np.column_stack([ring, np.full(len(ring), z)]) for z in slab for ring in rings]
    counts = tuple(len(ring) for ring in rings)
    return [Mark(label, np.concatenate(rings), "polygon", ignore=ignore, rings=counts)]


def _rings(geometry: Any) -> Iterable[np.ndarray]:
    """Contours ``(m, 2)`` of an area: outer ones and holes."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    inner = geometry.get("geometries" if kind == "GeometryCollection" else "coordinates") if kind in _AREAS else None
    if not isinstance(inner, list):
        raise AnnotationError(f"a geometry must be one of {', '.join((*_AREAS, *_POINTS, *_LINES))}")
    if kind == "GeometryCollection":
        for one in inner:
            yield from _rings(one)
        return
    for ring in [ring for polygon in inner for ring in polygon] if kind == "MultiPolygon" else inner:
        yield _points(ring)


def _points(values: Any) -> np.ndarray:
    if not isinstance(values, list) or not values or not all(isinstance(one, list) and len(one) > 1 for one in values):
        raise AnnotationError("coordinates must be lists of [x, y]")
    return np.array([numbers(one[:2], "coordinates", 2) for one in values])


def _slab(feature: dict[str, Any]) -> _Slab | None:
    """Edges along k, in slices from the edge of the first; `None` where no plane is stated."""
    properties, plane = feature.get("properties") or {}, feature["geometry"].get("plane") or {}
    if plane.get("t", 0):
        raise AnnotationError("objects of several times cannot be told apart")
    if _has_edges(feature):
        lower, upper = numbers(properties["edges_k"], "edges_k", 2)
        return lower, upper
    measured = properties.get("measurements") or {}
    if isinstance(measured, dict) and {"first slice", "last slice"} <= set(measured):
        first, last = numbers((measured["first slice"], measured["last slice"]), "first slice, last slice", 2)
        return first, last + 1
    if "z" not in plane:
        return None
    (z,) = numbers([plane["z"]], "z", 1)
    return z, z + 1


def _has_edges(feature: dict[str, Any]) -> bool:
    return "edges_k" in (feature.get("properties") or {})


def _class(feature: dict[str, Any]) -> str:
    given = (feature.get("properties") or {}).get("classification") or {}
    if isinstance(given, str):
        return given
    return str(given.get("name") or ": ".join(map(str, given.get("names") or [])))


def _object_type(feature: dict[str, Any]) -> str:
    properties = feature.get("properties") or {}
    return str(properties.get("objectType") or properties.get("object_type") or "").lower()
