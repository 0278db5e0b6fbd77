"""Parts of the test set as forest plots: how good each version is on each part, and how two versions differ there."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Comparison, Evaluation, StratumDifference
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
    """One table of the versions that share a test set, by the primary metric; empty where none has strata.

    Args:
        task: the registered model's name.
        evaluations: of one test set.
        numbers: each evaluation's colour and marker, by identity.
    """
    having = [one for one in evaluations if one.strata]
    if not having:
        return []
    metric = _metric(having)
    rows: list[StratumRow] = []
    for variable in dict.fromkeys(name for one in having for name in one.strata):
        levels = dict.fromkeys(level for one in having for level in one.strata.get(variable, {}))
        for level in levels:
            first = level == next(iter(levels))
            rows += _level_rows(task, having, numbers, (variable, level, metric), first)
    caption = (
        f"{metric_name(metric)} on parts of the test set, with {having[0].confidence:.0%} intervals by patient. A part "
        "with few patients has a wide interval or none."
    )
    return [StrataTable(caption, metric_name(metric), axis_cell(share_axis()), rows)]


def _metric(evaluations: Sequence[Evaluation]) -> str:
    known = {
        name
        for one in evaluations
        for levels in one.strata.values()
        for figures in levels.values()
        for name in figures
        if is_share(name)
    }
    wanted = (evaluations[0].primary, *_INSTEAD, *sorted(known))
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
        f"{metric_name(every[0].metric)}, {names[1]} − {names[0]}, on parts of the test set. p is corrected for all "
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
