"""The curves of a task's versions: FROC, precision over sensitivity, calibration, ROC of scans and grades."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Curve
from pipeline.reporting.charts import Series, line_chart, marker, value_at
from pipeline.reporting.figures import operating_point
from pipeline.reporting.naming import axis_name, number, short_name
from pipeline.reporting.records import TaskReport
from pipeline.reporting.scores import numbers_of


@dataclass(frozen=True)
class _Kind:
    """How one kind of curve is drawn; ``marks`` are the columns of the table below it."""

    title: str
    marks: tuple[float, ...]
    note: str
    octaves: bool = False
    diagonal: bool = False
    points: bool = False

    def value(self, curve: Curve, x: float) -> float:
        """What the table says at ``x``."""
        if not self.points:
            return value_at(curve, x, froc=self.octaves or self.diagonal)
        near = [(abs(a - x), b) for a, b in zip(curve.x, curve.y, strict=True) if abs(a - x) <= _HALF_BIN]
        return min(near)[1] if near else math.nan


_HALF_BIN = 0.05
_THRESHOLD = "The sign marks the version's threshold."
_EDGE = " Rates below ⅛ are drawn at its edge."
_KINDS = {
    "froc": _Kind(
        "Sensitivity against false positives", (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0), _THRESHOLD + _EDGE, True
    ),
    "precision_recall": _Kind(
        "Precision against sensitivity",
        (0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
        _THRESHOLD + " The line joins the scores at which one more object is found; a threshold between two of them "
        "lies below it.",
    ),
    "calibration": _Kind(
        "Calibration of scores",
        (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95),
        "On the dotted line a score of 0.8 means that 8 of 10 such detections are right; below it, scores promise too "
        "much.",
        diagonal=True,
        points=True,
    ),
    "roc_scan": _Kind(
        "Scans with an object against scans without",
        (0.05, 0.1, 0.2, 0.3, 0.5),
        "A scan scores what its best detection scores. The dotted line is chance.",
        diagonal=True,
    ),
    "roc_grade": _Kind(
        "Objects of positive grade against others",
        (0.05, 0.1, 0.2, 0.3, 0.5),
        "Found and missed objects; a missed one is graded lowest. The dotted line is chance.",
        diagonal=True,
    ),
}


@dataclass(frozen=True)
class Chart:
    title: str
    note: str
    svg: Markup
    x_name: str
    y_name: str
    columns: list[str]
    rows: list[tuple[str, Markup, list[str]]]


def charts(task: TaskReport) -> list[Chart]:
    """Curves of the versions that share the lead's test set; only those that an evaluation has."""
    drawn = (_chart(task, name, kind) for name, kind in _KINDS.items())
    return [one for one in drawn if one is not None]


def _chart(task: TaskReport, name: str, kind: _Kind) -> Chart | None:
    numbers = numbers_of(task)
    series = [
        Series(numbers[id(one)], short_name(task.name, one.version), one.curves[name], operating_point(name, one))
        for one in task.evaluations
        if one.test_set == task.lead.test_set and name in one.curves and one.curves[name].x
    ]
    if not series:
        return None
    label = f"{kind.title} of {', '.join(one.name for one in series)}; the table below the chart has the numbers"
    curve = series[0].curve
    return Chart(
        title=kind.title,
        note=kind.note,
        svg=line_chart(series, label, froc=kind.octaves, diagonal=kind.diagonal, points=kind.points),
        x_name=axis_name(curve.x_name),
        y_name=axis_name(curve.y_name),
        columns=[f"{x:g}" for x in kind.marks],
        rows=[
            (one.name, marker(one.number), [number(kind.value(one.curve, x), 2) for x in kind.marks]) for one in series
        ],
    )
