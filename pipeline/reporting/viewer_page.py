"""Cases of the viewer → what the page holds: one JSON block a case, the rows of the findings table, and what to tell.

Picture coordinates in the JSON are those of `panels`: pixels of the full image from its upper left edge, whatever size
the embedded pictures have.
"""

import base64
import json
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from pipeline.geometry import Boxes
from pipeline.reporting.display import edge_letters, flips
from pipeline.reporting.naming import number
from pipeline.reporting.viewed import CaseViews, Finding, ViewedCase

_HEADINGS = {"miss": "Missed", "false_positive": "False positive", "hit": "Hit"}
_MOST_ROWS = {"miss": 120, "false_positive": 120, "hit": 60}
_FALSE, _HIT, _IGNORED = 0, 1, 2


@dataclass(frozen=True)
class FindingRow:
    """``case`` is the number of the JSON block; ``mark`` is ``annotation-3`` or ``detection-0`` within it, empty where
    its slice is not in the file."""

    outcome: str
    name: str
    label: str
    score: str
    size: str
    case_id: str
    place: str
    case: int
    mark: str


@dataclass(frozen=True)
class ViewerCase:
    """``data``: JSON that is safe within a script element. ``told``: what was left out of it, and how it was stored."""

    case_id: str
    data: Markup
    told: str


@dataclass(frozen=True)
class Viewer:
    cases: list[ViewerCase]
    rows: list[FindingRow]
    more_rows: str
    left_out: str
    volumes: bool
    sized: bool
    points: bool
    ignored: bool
    unit: str
    threshold: float


def viewer(views: CaseViews, kept: list[ViewedCase]) -> Viewer | None:
    """What the page shows of ``kept``, those cases of ``views`` that fitted; ``None`` without any."""
    if not kept:
        return None
    rows, more = _rows(kept)
    annotations = [one.judged.case.annotations for one in kept]
    points = any(one.from_points for one in annotations)
    return Viewer(
        cases=[ViewerCase(one.case_id, _json(one), _told(one)) for one in kept],
        rows=rows,
        more_rows=more,
        left_out=_left_out(views, kept),
        volumes=any(one.grid.dims == 3 for one in kept),
        sized=any(row.size for row in rows),
        points=points,
        ignored=any(bool(one.ignore.any()) for one in annotations),
        unit=kept[0].grid.unit,
        threshold=kept[0].judged.threshold,
    )


def _left_out(views: CaseViews, kept: list[ViewedCase]) -> str:
    text = f"{len(kept)} of {views.of} cases are in this file: those with the worst misses and the most confident "
    text += "false positives, and a typical one."
    lost = views.chosen - len(kept)
    return text + (f" {lost} more that were chosen did not fit into its size limit." if lost else "")


def _rows(kept: list[ViewedCase]) -> tuple[list[FindingRow], str]:
    """The table's rows by outcome and weight, and a sentence on those that are not listed."""
    rows, more = [], []
    for outcome, heading in _HEADINGS.items():
        every = [
            (position, one, finding)
            for position, one in enumerate(kept)
            for finding in one.findings
            if finding.outcome == outcome
        ]
        every.sort(key=lambda entry: _weight(entry[2]))
        rows += [_row(*entry) for entry in every[: _MOST_ROWS[outcome]]]
        if len(every) > _MOST_ROWS[outcome]:
            more.append(f"{len(every) - _MOST_ROWS[outcome]} more of kind “{heading.lower()}”")
    return rows, f"Not listed, but drawn in the viewer: {', '.join(more)}." if more else ""


def _weight(finding: Finding) -> tuple[float, float]:
    return (-(finding.size or 0.0), finding.score) if finding.outcome == "miss" else (-finding.score, 0.0)


def _row(position: int, one: ViewedCase, finding: Finding) -> FindingRow:
    role = "annotation" if finding.outcome == "miss" else "detection"
    here = finding.slice_index is None or finding.slice_index in one.image.slices
    place = "" if finding.slice_index is None else f"{finding.slice_index + 1}{'' if here else ', not in this file'}"
    return FindingRow(
        outcome=finding.outcome,
        name=_HEADINGS[finding.outcome],
        label=finding.label,
        score=number(finding.score, 2) if finding.score else "none",
        size="" if finding.size is None else f"{finding.size:.1f}",
        case_id=one.case_id,
        place=place,
        case=position,
        mark=f"{role}-{finding.index}" if here else "",
    )


def _told(one: ViewedCase) -> str:
    """One sentence on how the pictures were stored."""
    image = one.image
    columns, rows, depth = image.full
    parts = [f"{columns} × {rows}" + (f" × {depth}" if one.grid.dims == 3 else "") + " pixels"]
    if image.size != (columns, rows):
        parts.append(f"shown with {image.size[0]} × {image.size[1]}")
    if len(image.slices) < depth:
        parts.append(f"{len(image.slices)} of {depth} slices, those nearest to the findings")
    if not image.colour:
        unit = f" {_value_unit(one)}".rstrip()
        parts.append(f"values {_plain(image.encoded[0])} … {_plain(image.encoded[1])}{unit} in 256 steps")
    parts.append("stored without loss" if image.kind == "image/png" else "compressed with loss (JPEG)")
    lost = len(one.judged.case.detections) - one.detections
    if lost:
        parts.append(f"{lost} detections of the lowest scores left out")
    return "; ".join(parts)


def _value_unit(one: ViewedCase) -> str:
    return "HU" if one.judged.case.attributes.get("modality") == "CT" else ""


def _plain(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if abs(value) < 1e4 else f"{value:.0f}".replace("-", "−")


def _json(one: ViewedCase) -> Markup:
    """The block that the script reads. ``<`` is written as an escape, so that no text can end the element."""
    case, image, grid = one.judged.case, one.image, one.grid
    names = list(dict.fromkeys([*case.detections.classes, *case.annotations.labels]))
    letters = edge_letters(grid)
    block = {
        "id": case.case_id,
        "told": _told(one),
        "columns": grid.shape[0],
        "rows": grid.shape[1],
        "depth": image.full[2] if grid.dims == 3 else 0,
        "slices": list(image.slices),
        "pixel": [float(grid.spacing[0]), float(grid.spacing[1])],
        "unit": grid.unit,
        "letters": list(letters) if letters else [],
        "colour": image.colour,
        "encoded": list(image.encoded),
        "shown": list(image.shown),
        "valueUnit": _value_unit(one),
        "points": case.annotations.from_points,
        "threshold": one.judged.threshold,
        "names": names,
        "annotations": _annotations(one, names),
        "detections": _detections(one, names)[: one.detections],
        "kind": image.kind,
        "planes": [base64.b64encode(plane).decode("ascii") for plane in image.planes],
    }
    return Markup(json.dumps(block, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c"))


def _annotations(one: ViewedCase, names: list[str]) -> list[list[float]]:
    annotations = one.judged.case.annotations
    return [
        [*place, names.index(label), float(score), int(ignored)]
        for place, label, score, ignored in zip(
            _places(annotations.boxes), annotations.labels, one.judged.best_score, annotations.ignore, strict=True
        )
    ]


def _detections(one: ViewedCase, names: list[str]) -> list[list[float]]:
    detections = one.judged.case.detections
    outcomes = np.where(one.judged.hit, _HIT, np.where(one.judged.swallowed, _IGNORED, _FALSE))
    return [
        [*place, names.index(label), float(score), int(outcome)]
        for place, label, score, outcome in zip(
            _places(detections.boxes), detections.label_names, detections.scores, outcomes, strict=True
        )
    ]


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
