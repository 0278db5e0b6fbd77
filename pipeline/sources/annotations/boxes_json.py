"""``cellscan-boxes-1``: boxes along the array axes in JSON, with the frame they are given in.

``{"format": "cellscan-boxes-1", "scans": [{"file" | "series_instance_uid": …, "frame": "lps_mm" | "ras_mm" | "px",
"objects": [{"centre": […], "size": […], "label": …}]}]}``. Sizes are full edges along the ARRAY axes: in mm, or in
pixels for ``px``, where 0 is the CENTRE of the first pixel. No objects: the scan was looked at and has no finding.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers, read_json
from pipeline.sources.annotations.marks import Frame, LabelMapSet, Mark, MarkSet, Reference, Refused
from pipeline.sources.identifiers import uid_digest

BOXES_FORMAT = "cellscan-boxes-1"
_FRAMES: dict[str, tuple[Frame, int]] = {"lps_mm": ("lps_mm", 3), "ras_mm": ("ras_mm", 3), "px": ("index", 2)}


def is_boxes(document: Any) -> bool:
    return isinstance(document, dict) and document.get("format") == BOXES_FORMAT


def read_boxes(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set a scan; a scan that is listed twice is refused the second time.

    Raises:
        AnnotationError: no list of scans, or one that names no image.
    """
    scans = read_json(path).get("scans")
    if not isinstance(scans, list):
        raise AnnotationError(f"expected a list 'scans' in {BOXES_FORMAT}, got {type(scans).__name__}")
    references = [_reference(number, scan) for number, scan in enumerate(scans)]
    if len(set(references)) < len(references):
        repeated = len(references) - len(set(references))
        raise AnnotationError(f"{repeated} scans are listed more than once")
    return [_scan(reference, scan) for reference, scan in zip(references, scans, strict=True)]


def _reference(number: int, scan: Any) -> Reference:
    uid, file = (str(scan.get(key) or "") if isinstance(scan, dict) else "" for key in ("series_instance_uid", "file"))
    if not uid and not file:
        raise AnnotationError(f"scan {number} names neither series_instance_uid nor file")
    return Reference(series=uid_digest(uid) or "") if uid else Reference(file=file)


def _scan(reference: Reference, scan: dict[str, Any]) -> MarkSet | Refused:
    try:
        named = scan.get("frame")
        if named not in _FRAMES:
            raise AnnotationError(f"the frame must be one of {', '.join(_FRAMES)}, got {named!r}")
        frame, dims = _FRAMES[named]
        objects = scan.get("objects")
        if not isinstance(objects, list):
            raise AnnotationError("expected a list 'objects', empty where there is no finding")
        return MarkSet(reference, frame, tuple(_mark(one, frame, dims) for one in objects))
    except AnnotationError as error:
        return Refused(str(error))


def _mark(one: Any, frame: Frame, dims: int) -> Mark:
    if not isinstance(one, dict):
        raise AnnotationError("every object must be a JSON object with 'centre' and 'size'")
    if one.get("axes", "array") != "array":
        raise AnnotationError("sizes must be given along the array axes ('axes': 'array')")
    centre, size = (np.array(numbers(one.get(key), key, dims)) for key in ("centre", "size"))
    if (size <= 0).any():
        raise AnnotationError(f"every size must be above 0, got {size.min()}")
    label = str(one.get("label") or "")
    if frame == "index":
        return Mark(label, np.stack([centre - size / 2, centre + size / 2]), "box")
    return Mark(label, centre[None], "sphere", size=tuple(size.tolist()))
