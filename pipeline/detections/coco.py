"""Detections on 2D pictures as one COCO document (https://cocodataset.org/#format-results), scores included.

Coordinates are COCO's: pixels from the outer edge of the first one, so index + 0.5. Volumes are left out: COCO has no
third axis.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.detections.detection import Detections
from pipeline.volumes import Volume


def to_coco(found: Sequence[tuple[Volume, Detections]], classes: tuple[str, ...]) -> dict[str, Any]:
    """``images``, ``annotations`` (with ``score``) and ``categories``; ids count from 1, images go by volume id."""
    flat = [(volume, detections) for volume, detections in found if volume.grid.dims == 2]
    images = [
        {"id": n, "file_name": volume.volume_id, "width": volume.grid.shape[0], "height": volume.grid.shape[1]}
        for n, (volume, _) in enumerate(flat, start=1)
    ]
    annotations = [
        {"image_id": n, **_annotation(detections, index)}
        for n, (_, detections) in enumerate(flat, start=1)
        for index in range(len(detections))
    ]
    return {
        "images": images,
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations, start=1)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
    }


def _annotation(detections: Detections, index: int) -> dict[str, Any]:
    x, y = (detections.boxes.lower[index] + 0.5).tolist()
    width, height = (detections.boxes.upper[index] - detections.boxes.lower[index]).tolist()
    outline = [] if detections.outlines is None else [(detections.outlines[index] + 0.5).ravel().tolist()]
    return {
        "category_id": int(detections.labels[index]) + 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "segmentation": outline,
        "iscrowd": 0,
        "score": float(detections.scores[index]),
    }
