"""One case of the viewer → the JSON block that its script reads.

Picture coordinates are those of `panels`: pixels of the full image from its upper left edge, whatever size the
embedded pictures have.
"""

import base64
import json
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from pipeline.geometry import Boxes
from pipeline.reporting.display import edge_letters, flips
from pipeline.reporting.judging import Judged
from pipeline.reporting.viewed import ViewedCase, is_hounsfield

_FALSE, _HIT, _IGNORED = 0, 1, 2


def shows_hounsfield(one: ViewedCase) -> bool:
    return is_hounsfield(one.judged.case) and not one.image.colour


def told(one: ViewedCase) -> str:
    """One sentence on what of the scan is in the file, and how it was stored."""
    image = one.image
    columns, rows, depth = image.full
    parts = [f"{columns} × {rows}" + (f" × {depth}" if one.grid.dims == 3 else "") + " pixels"]
    if image.size != (columns, rows):
        parts.append(f"shown with {image.size[0]} × {image.size[1]}")
    if len(image.slices) < depth:
        parts.append(f"{len(image.slices)} of {depth} slices, those nearest to the findings")
    if not image.colour:
        parts.append(_values_told(one))
    parts.append("stored without loss" if image.kind == "image/png" else "compressed with loss (JPEG)")
    lost = sum(len(each.case.detections) for each in one.versions) - sum(one.kept)
    if lost:
        parts.append(f"{lost} detections of the lowest scores left out")
    return "; ".join(parts)


def _values_told(one: ViewedCase) -> str:
    scale = one.image.scale
    unit = " HU" if shows_hounsfield(one) else ""
    text = f"values {_plain(scale.first)} … {_plain(scale.last)}{unit} in 256 steps"
    if len(scale.values) > 2:
        step, low, high = scale.finest
        text += f", {step:.1f}{unit} apart from {_plain(low)} to {_plain(high)}"
    return text


def _plain(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if abs(value) < 1e4 else f"{value:.0f}".replace("-", "−")


def case_json(one: ViewedCase, versions: Sequence[str], about: str) -> Markup:
    """The block of one case. ``<`` is written as an escape, so that no text can end the element.

    ``versions`` are the names of ``one.versions``; ``about`` is the sentence of `told`.
    """
    case, image, grid = one.judged.case, one.image, one.grid
    shown = {name for each in one.versions for name in each.case.detections.classes}
    names = sorted({*shown, *case.annotations.labels})
    block = {
        "id": case.case_id,
        "told": about,
        "columns": grid.shape[0],
        "rows": grid.shape[1],
        "depth": image.full[2] if grid.dims == 3 else 0,
        "slices": list(image.slices),
        "pixel": [float(grid.spacing[0]), float(grid.spacing[1])],
        "unit": grid.unit,
        "letters": list(edge_letters(grid) or ()),
        "colour": image.colour,
        "levels": list(image.scale.levels),
        "values": list(image.scale.values),
        "shown": list(image.shown),
        "valueUnit": "HU" if shows_hounsfield(one) else "",
        "points": case.annotations.from_points,
        "names": names,
        "annotations": _annotations(one, names),
        "versions": [
            _version(each, name, names, kept) for each, name, kept in zip(one.versions, versions, one.kept, strict=True)
        ],
        "kind": image.kind,
        "planes": [base64.b64encode(plane).decode("ascii") for plane in image.planes],
    }
    return Markup(json.dumps(block, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c"))


def _annotations(one: ViewedCase, names: list[str]) -> list[list[float]]:
    annotations = one.judged.case.annotations
    return [
        [*place, names.index(label), int(ignored)]
        for place, label, ignored in zip(
            _places(annotations.boxes), annotations.labels, annotations.ignore, strict=True
        )
    ]


def _version(one: Judged, name: str, names: list[str], kept: int) -> dict[str, object]:
    """``found``: the score of the detection that found each annotation, 0 where none did."""
    detections = one.case.detections
    outcomes = np.where(one.hit, _HIT, np.where(one.swallowed, _IGNORED, _FALSE))
    rows = zip(_places(detections.boxes), detections.label_names, detections.scores, outcomes, strict=True)
    return {
        "name": name,
        "threshold": _score(one.threshold),
        "found": [_score(score) for score in one.best_score],
        "detections": [
            [*place, names.index(label), _score(score), int(outcome)] for place, label, score, outcome in rows
        ][:kept],
    }


def _score(score: float) -> float:
    """Short in the file; the threshold is rounded in the same way, so that what reaches it still does."""
    return round(float(score), 6)


def _places(boxes: Boxes) -> list[list[float]]:
    """Left, top, right, bottom in picture coordinates; first, last and nearest slice (0 in 2D)."""
    grid = boxes.grid
    edges = []
    for axis, backwards in enumerate(flips(grid)):
        low, high = boxes.lower[:, axis] + 0.5, boxes.upper[:, axis] + 0.5
        length = grid.shape[axis]
        edges.append((length - high, length - low) if backwards else (low, high))
    columns = [edges[0][0], edges[1][0], edges[0][1], edges[1][1]]
    if grid.dims == 3:
        last = grid.shape[2] - 1
        middle = np.clip(np.floor(boxes.centres[:, 2] + 0.5), 0, last)
        first = np.minimum(np.ceil(boxes.lower[:, 2]), middle).clip(0, last)
        columns += [first, np.maximum(np.floor(boxes.upper[:, 2]), middle).clip(0, last), middle]
    else:
        columns += [np.zeros(len(boxes))] * 3
    rows = np.round(np.stack(columns, axis=1), 1).tolist()
    return [[int(value) if value == int(value) else value for value in row] for row in rows]
