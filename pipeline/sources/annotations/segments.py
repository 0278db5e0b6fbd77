"""NRRD label maps, and 3D Slicer's ``.seg.nrrd``: segments with names, in layers where they overlap.

Keys ``Segment<n>_ID``, ``_Name``, ``_LabelValue`` and ``_Layer`` describe each segment (Slicer, "Segmentations: segment
editor file format"). Without them each positive value is one object.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.sources.annotations.marks import BESIDE, LabelMapSet

_KEY = re.compile(r"^Segment(\d+)_(ID|Name|LabelValue|Layer)$")
_DEFAULT_NAME = re.compile(r"^segment[-_ ]*\d*$", re.IGNORECASE)


def is_nrrd(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"NRRD"


def read_segments(path: Path) -> list[LabelMapSet]:
    """One label map ``(i, j, k)`` a layer.

    Raises:
        AnnotationError: segments that share a value of one layer, or name a layer that is not there.
        SourceError: the file cannot be read.
    """
    from pipeline.sources.images.nrrd import read_nrrd

    array, grid, fields = read_nrrd(path)
    layers = array[None] if array.ndim == grid.dims else array
    segments = _segments(fields)
    return [_layer(layers[number], grid, segments.get(number), bool(segments)) for number in _used(layers, segments)]


def _used(layers: np.ndarray, segments: dict[int, list[dict[str, str]]]) -> range:
    if layers.ndim not in (3, 4):
        raise AnnotationError(f"a label map has 2 or 3 axes, got {layers.ndim - 1}")
    if any(not 0 <= number < len(layers) for number in segments):
        raise AnnotationError(f"a segment lies in layer {max(segments)}, the file has {len(layers)}")
    if not segments and len(layers) > 1:
        raise AnnotationError(f"expected one label map, got {len(layers)} without a description of segments")
    return range(len(layers))


def _segments(fields: dict[str, Any]) -> dict[int, list[dict[str, str]]]:
    """What is said of each segment, by layer."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for key, value in fields.items():
        match = _KEY.match(str(key))
        if match:
            found[int(match[1])][match[2]] = str(value).strip()
    layers: dict[int, list[dict[str, str]]] = defaultdict(list)
    for number in sorted(found):
        layers[_whole(found[number].get("Layer", "0"))].append(found[number])
    return layers


def _layer(values: np.ndarray, grid: Grid, segments: list[dict[str, str]] | None, described: bool) -> LabelMapSet:
    if values.dtype.kind not in "iu":
        if (values != np.round(values)).any():
            raise AnnotationError("labels must be whole numbers; this map holds fractions")
        values = values.astype(np.int64)
    if not described:
        return LabelMapSet(BESIDE, values, grid, {})
    labels: dict[int, str] = {}
    for segment in segments or []:
        value = _whole(segment.get("LabelValue", "1"))
        if value in labels:
            raise AnnotationError(f"two segments of one layer have the value {value}")
        name = segment.get("Name", "")
        labels[value] = "" if _DEFAULT_NAME.match(name) else name
    drawn = set(np.unique(values[values > 0]).tolist())
    unknown = sorted(drawn - set(labels))
    if unknown:
        raise AnnotationError(f"{len(unknown)} values belong to no segment, e.g. {unknown[0]}")
    empty = len(set(labels) - drawn)
    notes = (f"{empty} of {len(labels)} segments are empty",) if empty else ()
    return LabelMapSet(BESIDE, values, grid, labels, notes)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise AnnotationError("LabelValue and Layer of a segment must be whole numbers") from error
