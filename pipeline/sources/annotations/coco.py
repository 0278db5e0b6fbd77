"""COCO's JSON for object detection (https://cocodataset.org/#format-data): boxes, polygons and run-length masks.

``bbox`` is ``[x, y, width, height]`` in pixels from the EDGE of the first one, polygons ``[x, y, x, y, …]`` likewise,
so that pixel (2, 3) is the box ``[2, 3, 1, 1]``. ``iscrowd`` objects are to be ignored. Images are meant by
``file_name``; an image that is listed and has no annotation was looked at and has no finding.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers, read_json
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference, Refused
from pipeline.sources.annotations.run_lengths import outline

# bbox and segmentation of one object say the same if no edge is further apart (COCO rounds to 1/100 pixel).
_SAME_PX = 1.0


def is_coco(document: Any) -> bool:
    return isinstance(document, dict) and all(
        isinstance(document.get(key), list) for key in ("images", "annotations", "categories")
    )


def read_coco(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set an image, in the order of ``images``.

    An object's outline is its segmentation, where it has one, else its ``bbox``.

    Raises:
        AnnotationError: images or categories without ids, or annotations of images that are not listed.
    """
    document = read_json(path)
    names = {_key(one, "id", "category"): str(one.get("name") or "") for one in document["categories"]}
    images = {_key(one, "id", "image"): one for one in document["images"]}
    if len(images) < len(document["images"]):
        raise AnnotationError(f"{len(document['images']) - len(images)} images share the id of another")
    objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for one in document["annotations"]:
        objects[_key(one, "image_id", "annotation")].append(one)
    unknown = [key for key in objects if key not in images]
    refused = [Refused(f"{len(objects[key])} annotations are of an image that is not listed") for key in unknown]
    return [*(_image(one, objects.get(key, []), names) for key, one in images.items()), *refused]


def _image(image: dict[str, Any], objects: list[dict[str, Any]], names: dict[Any, str]) -> MarkSet | Refused:
    try:
        shape: tuple[int, ...] = ()
        if image.get("width") is not None and image.get("height") is not None:
            width, height = numbers((image["width"], image["height"]), "width, height", 2)
            shape = (int(width), int(height))
        marks, notes = [], []
        for one in objects:
            mark, note = _mark(one, names, shape)
            marks.append(mark)
            notes += [note] if note else []
        told = (f"{len(notes)} objects: {notes[0]}",) if notes else ()
        return MarkSet(Reference(file=str(image.get("file_name") or "")), "edge_px", tuple(marks), False, told, shape)
    except AnnotationError as error:
        return Refused(str(error))


def _mark(one: dict[str, Any], names: dict[Any, str], shape: tuple[int, ...]) -> tuple[Mark, str]:
    if one.get("category_id") not in names:
        raise AnnotationError("an annotation has a category that is not listed")
    label, ignore = names[one["category_id"]], bool(one.get("iscrowd"))
    box = None if one.get("bbox") is None else _box(one["bbox"])
    rings = _rings(one.get("segmentation"), shape)
    if not rings and box is None:
        raise AnnotationError("an annotation has neither bbox nor segmentation")
    if not rings:
        return Mark(label, box, "box", ignore=ignore), ""  # type: ignore[arg-type]
    points = np.concatenate(rings)
    mark = Mark(label, points, "polygon", ignore=ignore, rings=tuple(len(ring) for ring in rings))
    bounds = np.stack([points.min(axis=0), points.max(axis=0)])
    apart = 0.0 if box is None else float(np.abs(bounds - box).max())
    return mark, f"bbox and segmentation are {apart:.1f} px apart, taken as segmented" if apart > _SAME_PX else ""


def _box(values: Any) -> np.ndarray:
    x, y, width, height = numbers(values, "bbox", 4)
    if width <= 0 or height <= 0:
        raise AnnotationError(f"every bbox must have a width and height above 0, got {width} and {height}")
    return np.array([[x, y], [x + width, y + height]])


def _rings(segmentation: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Contours in edge pixels, each ``(m, 2)``; none where the object is not segmented."""
    if not segmentation:
        return []
    if isinstance(segmentation, dict):
        return outline(segmentation, shape)
    rings = [np.array(numbers(one, "segmentation")).reshape(-1) for one in segmentation]
    if any(ring.size < 6 or ring.size % 2 for ring in rings):
        raise AnnotationError("a polygon needs at least 3 points of 2 numbers")
    return [ring.reshape(-1, 2) for ring in rings]


def _key(one: Any, name: str, what: str) -> Any:
    key = one.get(name) if isinstance(one, dict) else None
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise AnnotationError(f"every {what} needs a number or text as {name!r}")
    return key
