"""Detections as markups of 3D Slicer (.mrk.json): a region of interest for each, in LPS millimetres.

Source of the format: Slicer's markups-schema-v1.0.3. A region is a box with its own axes, so one on an oblique grid is
exact; a grid that is mirrored against LPS gives the same box with its axes turned to be right-handed.
"""

import json

import numpy as np

from pipeline.detections.detection import Detections
from pipeline.errors import SourceError
from pipeline.geometry.frames import ras_to_lps

_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"


def to_markups(detections: Detections) -> bytes:
    """The file. Nothing in it identifies a patient.

    Raises:
        SourceError: the scan is a 2D picture, which has no place in 3D Slicer's patient space.
    """
    grid = detections.boxes.grid
    if grid.dims != 3:
        raise SourceError("markups of 3D Slicer lie in the patient; a 2D picture has no place there")
    axes = ras_to_lps((grid.affine[:3, :3] / grid.spacing).T).T
    if np.linalg.det(axes) < 0:
        axes = axes * (1, 1, -1)
    centres = ras_to_lps(detections.boxes.centres_world)
    markups = [
        {
            "type": "ROI",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "roiType": "Box",
            "center": centre.tolist(),
            "orientation": axes.ravel().tolist(),
            "size": size.tolist(),
            "controlPoints": [
                {
                    "id": str(n),
                    "label": f"{label} {n}",
                    "description": f"score {score:.4f}",
                    "position": centre.tolist(),
                }
            ],
            "measurements": [{"name": "score", "enabled": False, "value": float(score)}],
        }
        for n, (centre, size, label, score) in enumerate(
            zip(centres, detections.boxes.sizes_world, detections.label_names, detections.scores, strict=True), start=1
        )
    ]
    return json.dumps({"@schema": f"{_SCHEMA}markups-schema-v1.0.3.json#", "markups": markups}, indent=1).encode()
