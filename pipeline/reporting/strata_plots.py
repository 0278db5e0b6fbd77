"""Parts of the test set as forest plots: how good each version is on each part, and how two versions differ there."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Comparison, Evaluation, StratumDifference
from pipeline.evaluation.strata import compared_by
from pipeline.reporting.charts import Axis, axis_cell, difference_axis, interval_cell, marker, share_axis
from pipeline.reporting.naming import (
    counted,
    interval,
    is_share,
    metric_name,
    number,
    short_name,
    signed,
    variable_name,
)

# What a part is shown by where the primary metric is not a figure of parts.
_INSTEAD = ("f1", "recall")


@dataclass(frozen=True)
class StratumRow:
    """``opens``: the first row of a level, which has ``span`` rows. ``variable`` is set in the first row of one."""

    variable: str
    level: str
    holds: str
    opens: bool
    span: int
    version: str
    sign: Markup
    value: str
    interval: str
    plot: Markup | str


@dataclass(frozen=True)
class StrataTable:
    caption: str
    metric: str
    axis: Markup
    rows: list[StratumRow]


@dataclass(frozen=True)
class StratumDifferenceRow:
    variable: str
    level: str
    holds: str
    difference: str
    interval: str
    p: str
    detectable: str
    plot: Markup
    favours: str


def strata_tables(task: str, evaluations: Sequence[Evaluation], numbers: dict[int, int]) -> list[StrataTable]:
    """The versions that share a test set, a table for each figure that their parts are compared by (see
    `pipeline.evaluation.strata.compared_by`); empty where none has strata.

    Args:
        task: the registered model's name.
        evaluations: of one test set.
        numbers: each evaluation's colour and marker, by identity.
    """
    having = [one for one in evaluations if one.strata]
    if not having:
        return []
    by_metric: dict[str, list[StratumRow]] = {}
    for variable in dict.fromkeys(name for one in having for name in one.strata):
        metric = _metric(having, variable)
        levels = dict.fromkeys(level for one in having for level in one.strata.get(variable, {}))
        for level in levels:
            first = level == next(iter(levels))
            rows = _level_rows(task, having, numbers, (variable, level, metric), first)
            by_metric.setdefault(metric, []).extend(rows)
    return [
        StrataTable(_caption(metric, having[0]), metric_name(metric), axis_cell(share_axis()), rows)
        for metric, rows in by_metric.items()
    ]


def _caption(metric: str, of: Evaluation) -> str:
    return (
        f"{metric_name(metric)} on parts of the test set, with {of.confidence:.0%} intervals by patient. A part with "
        "few patients has a wide interval or none."
    )


def _metric(evaluations: Sequence[Evaluation], variable: str) -> str:
    known = {
        name
        for one in evaluations
        for figures in one.strata.get(variable, {}).values()
        for name in figures
        if is_share(name)
    }
    wanted = (compared_by(variable, evaluations[0].primary), *_INSTEAD, *sorted(known))
    return next((name for name in wanted if name in known), wanted[0])


def _level_rows(
    task: str, evaluations: Sequence[Evaluation], numbers: dict[int, int], what: tuple[str, str, str], first: bool
) -> list[StratumRow]:
    variable, level, metric = what
    having = [one for one in evaluations if metric in one.strata.get(variable, {}).get(level, {})]
    rows = []
    for position, one in enumerate(having):
        estimate, index = one.strata[variable][level][metric], numbers[id(one)]
        rows.append(
            StratumRow(
                variable=variable_name(variable) if first and position == 0 else "",
                level=_level_name(one, variable, level),
                holds=_holds(one.strata_counts.get(variable, {}).get(level, {})),
                opens=position == 0,
                span=len(having),
                version=short_name(task, one.version),
                sign=marker(index),
                value=number(estimate.value),
                interval=interval(estimate.lower, estimate.upper),
                plot=interval_cell(estimate, index, share_axis()) if is_share(metric) else "",
            )
        )
    return rows


def _level_name(one: Evaluation, variable: str, level: str) -> str:
    """Sizes with their borders: ``small, to 6.2 mm``."""
    limits, unit = one.size_limits, one.size_unit
    if variable != "size" or level not in ("small", "medium", "large") or not limits:
        return level
    if level == "small":
        return f"small, to {limits[0]:.3g} {unit}"
    if level == "large":
        return f"large, above {limits[-1]:.3g} {unit}"
    return f"medium, {limits[0]:.3g} to {limits[-1]:.3g} {unit}"


def _holds(counts: dict[str, int]) -> str:
    if "patients_with_objects" in counts:
        counts = {**counts, "patients": counts["patients_with_objects"]}
    return ", ".join(counted(counts[f"{what}s"], what) for what in ("patient", "object") if f"{what}s" in counts)


def stratum_differences(
    task: str, comparison: Comparison, confidence: float, of: Evaluation | None = None
) -> tuple[str, Markup, list[StratumDifferenceRow]]:
    """Caption, axis and rows of two versions' differences by part; no rows where the comparison has no strata.

    ``of``: an evaluation of one of them, which knows the borders between sizes.
    """
    every = [one for levels in comparison.strata.values() for one in levels.values()]
    if not every:
        return "", Markup(""), []
    axis = difference_axis([one.difference for one in every])
    names = (short_name(task, comparison.version_a), short_name(task, comparison.version_b))
    caption = (
        f"{_metrics_named(comparison)}, {names[1]} − {names[0]}, on parts of the test set. p is corrected for all "
        f"{len(every)} parts (Holm). “Could show” is the smallest true difference that a part this large shows in four "
        "of five tries."
    )
    rows = [
        _difference_row(
            variable if level == next(iter(levels)) else "",
            _level_name(of, variable, level) if of is not None else level,
            one,
            axis,
            names,
            confidence,
        )
        for variable, levels in comparison.strata.items()
        for level, one in levels.items()
    ]
    return caption, axis_cell(axis), rows


def _metrics_named(comparison: Comparison) -> str:
    """``CPM``, or ``CPM by class; Sensitivity by size`` where they differ."""
    by_metric: dict[str, list[str]] = {}
    for variable, levels in comparison.strata.items():
        for metric in dict.fromkeys(one.metric for one in levels.values()):
            by_metric.setdefault(metric, []).append(variable_name(variable))
    if len(by_metric) == 1:
        return metric_name(next(iter(by_metric)))
    return "; ".join(f"{metric_name(metric)} by {', '.join(by)}" for metric, by in by_metric.items())


def _difference_row(
    variable: str, level: str, one: StratumDifference, axis: Axis, names: tuple[str, str], confidence: float
) -> StratumDifferenceRow:
    difference = one.difference
    clear = one.p_adjusted < 1 - confidence and not difference.lower <= 0 <= difference.upper
    return StratumDifferenceRow(
        variable=variable_name(variable) if variable else "",
        level=level,
        holds=_holds({"patients": one.patients, "objects": one.objects}),
        difference=signed(difference.value),
        interval=interval(difference.lower, difference.upper),
        p=number(one.p_adjusted),
        detectable=number(one.detectable),
        plot=interval_cell(difference, 1, axis, reference=0.0),
        favours=names[int(difference.value > 0)] if clear else "",
    )
