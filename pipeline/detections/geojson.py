"""Detections as GeoJSON that QuPath opens (drag the file onto the image).

Coordinates are QuPath's: pixels of the image as acquired, x right along ``i`` and y down along ``j``, measured from the
EDGE of the first pixel, so pixel index + 0.5 (https://qupath.readthedocs.io, "Exporting annotations": GeoJSON).
"""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.detections.detection import Detections

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0), (204, 121, 167), (240, 228, 66), (0, 114, 178))


def to_geojson(detections: Detections) -> dict[str, Any]:
    """A ``FeatureCollection`` with one rectangle or outline a detection, highest score first.

    Rectangles are ``[x, y]`` pixel-edge coordinates (continuous voxel index + 0.5); a one-voxel box at index 5 spans
    5 … 6. A 3D detection lies on the plane ``z`` nearest to its centre, as a QuPath object has one plane; its
    measurements hold the first and last slice (indices from 0, both inclusive) that it touches, and its property
    ``edges_k`` the exact edges along the slices, from the edge of the first.
    Where the detector grades, a measurement is named after the grade (``malignancy``).
    An outline is moved onto the image's edge where it reaches beyond.
    The volume is named by its id; nothing here identifies a patient.
    """
    return _collection(detections, [_feature(detections, index) for index in range(len(detections))])


def write_geojson(path: Path, detections: Detections) -> None:
    """`to_geojson` as a file, one feature after the other: all of a slide's would take many times its size."""
    head = json.dumps(_collection(detections, [])).removesuffix("]}")
    with path.open("w", encoding="utf-8") as file:
        file.write(head)
        for index in range(len(detections)):
            file.write((", " if index else "") + json.dumps(_feature(detections, index)))
        file.write("]}")


def _collection(detections: Detections, features: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "volume_id": detections.volume_id, "features": features}


def _feature(detections: Detections, index: int) -> dict[str, Any]:
    lower = detections.boxes.lower[index] + 0.5
    upper = detections.boxes.upper[index] + 0.5
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": [_ring(detections, index)]}
    measurements: dict[str, float] = {"score": float(detections.scores[index])}
    if detections.grades is not None:
        measurements[detections.grade_name] = float(detections.grades[index])
    along_slices: dict[str, list[float]] = {}
    if detections.boxes.grid.dims == 3:
        last = detections.boxes.grid.shape[2] - 1
        middle = (lower[2] + upper[2]) / 2
        geometry["plane"] = {"c": -1, "z": int(np.clip(np.floor(middle), 0, last)), "t": 0}
        measurements["first slice"] = float(np.floor(lower[2]))
        measurements["last slice"] = float(np.ceil(upper[2]) - 1)
        along_slices["edges_k"] = [float(lower[2]), float(upper[2])]
    label = int(detections.labels[index])
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{detections.volume_id}/{index}/{lower.tolist()}/{upper.tolist()}")),
        "geometry": geometry,
        "properties": {
            "objectType": "detection",
            "classification": {
                "name": detections.classes[label],
                "color": list(_COLOURS[label % len(_COLOURS)]),
            },
            "measurements": measurements,
            **along_slices,
        },
    }


def _ring(detections: Detections, index: int) -> list[list[float]]:
    """The closed line around one detection."""
    if detections.outlines is not None:
        corners = np.clip(detections.outlines[index] + 0.5, 0, np.array(detections.boxes.grid.shape)).tolist()
        return [*corners, corners[0]]
    (left, top) = (detections.boxes.lower[index, :2] + 0.5).tolist()
    (right, bottom) = (detections.boxes.upper[index, :2] + 0.5).tolist()
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
