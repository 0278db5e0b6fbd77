"""Forest plots as PNG for the tracking page: figures of parts of a test set, and differences of two versions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation import Comparison, Estimate
from pipeline.evaluation.strata import compared_by
from pipeline.reporting.drawing import BLUE, GREY, blank, plain, png, without_frame
from pipeline.reporting.naming import counted, interval, is_share, metric_name, number, signed, variable_name

_ROW = 0.32


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot. ``strong``: it stands for the whole, and is drawn so."""

    label: str
    estimate: Estimate
    told: str
    strong: bool = False


def strata_png(
    title: str,
    primary: str,
    metrics: Mapping[str, Estimate],
    strata: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
    counts: Mapping[str, Mapping[str, Mapping[str, int]]],
) -> bytes | None:
    """The primary metric over all, and in each stratum the figure that it is compared by; `None` without strata."""
    if not strata:
        return None
    metric = compared_by("", primary)
    rows = [ForestRow("all", metrics[metric], _value(metrics[metric]), strong=True)] if metric in metrics else []
    for variable, held in strata.items():
        own = compared_by(variable, primary)
        named = "" if own == metric else f"{metric_name(own)}, "
        for level, figures in held.items():
            size = counts.get(variable, {}).get(level, {})
            patients = size.get("patients_with_objects", size.get("patients"))
            label = f"{named}{variable_name(variable)}: {level}{_held(patients, size.get('objects'))}"
            rows.append(ForestRow(label, figures[own], _value(figures[own])))
    return forest_png(f"{title}: {metric_name(metric)} by stratum", rows, (0.0, 1.0) if is_share(metric) else None)


def differences_png(comparison: Comparison) -> bytes:
    """B less A: every figure over all, then the compared figure in each stratum with its corrected p value."""
    primary_first = sorted(comparison.differences, key=lambda name: name != comparison.primary)
    rows = [
        ForestRow(
            metric_name(name),
            comparison.differences[name],
            _difference(comparison.differences[name], comparison.p_values.get(name, math.nan), "p"),
            strong=name == comparison.primary,
        )
        for name in primary_first
        if is_share(name)
    ]
    for variable, levels in comparison.strata.items():
        for level, one in levels.items():
            label = f"{metric_name(one.metric)}, {variable_name(variable)}: {level}{_held(one.patients, one.objects)}"
            rows.append(ForestRow(label, one.difference, _difference(one.difference, one.p_adjusted, "adjusted p")))
    title = f"{comparison.version_b} less {comparison.version_a}, paired over {comparison.patients} patients"
    return forest_png(title, rows, None, zero=True)


def forest_png(title: str, rows: Sequence[ForestRow], limits: tuple[float, float] | None, zero: bool = False) -> bytes:
    """A row an estimate: its name, its interval, and what is told of it. Estimates that do not exist stay without sign.

    Args:
        title: above.
        rows: from top to bottom.
        limits: of the axis; by default as wide as the intervals.
        zero: mark 0, where two versions are equal.
    """
    figure = blank(9, 1.1 + _ROW * max(len(rows), 1))
    axes = figure.subplots()
    if zero:
        axes.axvline(0, color=GREY, linewidth=1, linestyle=":")
    for place, row in enumerate(rows):
        one = row.estimate
        if not math.isnan(one.lower):
            axes.plot([one.lower, one.upper], [place, place], color=BLUE, linewidth=3 if row.strong else 1.8)
        axes.plot(one.value, place, "D" if row.strong else "o", color=BLUE, markersize=7 if row.strong else 5)
        axes.annotate(
            row.told, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, annotation_clip=False
        )
    axes.set_yticks(range(len(rows)), [plain(row.label) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.grid(axis="x", alpha=0.3)
    without_frame(axes, ("top", "right", "left"))
    axes.set_title(plain(title), loc="left", fontsize=10)
    return png(figure)


def _value(one: Estimate) -> str:
    return f"{number(one.value)} {interval(one.lower, one.upper)}"


def _difference(one: Estimate, p: float, called: str) -> str:
    shown = "" if math.isnan(p) else f"  {called} = {number(p)}"
    return f"{signed(one.value)} {interval(one.lower, one.upper)}{shown}"


def _held(patients: int | None, objects: int | None) -> str:
    told = [counted(n, what) for n, what in ((patients, "patient"), (objects, "object")) if n is not None]
    return f"  ({', '.join(told)})" if told else ""
