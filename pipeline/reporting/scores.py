"""Scores with intervals, and differences between two versions: tables, and the sentence that judges them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Comparison, Evaluation
from pipeline.reporting.charts import Axis, axis_cell, difference_axis, interval_cell, marker, share_axis
from pipeline.reporting.naming import (
    counted,
    higher_is_better,
    interval,
    is_share,
    metric_meaning,
    metric_name,
    number,
    short_name,
    signed,
)
from pipeline.reporting.records import TaskReport
from pipeline.reporting.strata_plots import StratumDifferenceRow, stratum_differences


@dataclass(frozen=True)
class ScoreRow:
    """``first``: the row that opens a metric, with how many rows the metric has in ``span``."""

    metric: str
    meaning: str
    first: bool
    span: int
    primary: bool
    version: str
    champion: bool
    sign: Markup
    value: str
    interval: str
    plot: Markup | str


@dataclass(frozen=True)
class ScoreTable:
    caption: str
    axis: Markup
    rows: list[ScoreRow]


@dataclass(frozen=True)
class DifferenceRow:
    metric: str
    primary: bool
    value_a: str
    value_b: str
    difference: str
    interval: str
    p: str
    detectable: str
    plot: Markup
    favours: str


@dataclass(frozen=True)
class DifferenceTable:
    version_a: str
    version_b: str
    verdict: str
    caption: str
    axis: Markup
    rows: list[DifferenceRow]
    strata_caption: str
    strata_axis: Markup
    strata: list[StratumDifferenceRow]


def verdict(task: str, comparison: Comparison, confidence: float) -> str:
    """One sentence; it calls a version better only where the interval and the permutation test say so."""
    name, one = metric_name(comparison.primary), comparison.differences[comparison.primary]
    p = comparison.p_values[comparison.primary]
    a, b = short_name(task, comparison.version_a), short_name(task, comparison.version_b)
    upper_b = b[0].upper() + b[1:]
    if not interval(one.lower, one.upper):
        return f"{upper_b} against {a}: {name} differs by {signed(one.value)}; there is no interval to judge that by."
    shown = f"{name} {signed(one.value)} {interval(one.lower, one.upper)}, p = {number(p)}"
    if one.lower <= 0 <= one.upper:
        return f"No difference is shown between {b} and {a}: {shown}."
    word = "better" if (one.lower > 0) == higher_is_better(comparison.primary) else "worse"
    if p < 1 - confidence:
        return f"{upper_b} is {word} than {a}: {shown}."
    few = counted(comparison.patients, "patient")
    return f"{upper_b} looks {word} than {a}, but {few} do not settle it: {shown}."


def numbers_of(task: TaskReport) -> dict[int, int]:
    """Each evaluation's colour and marker, by identity."""
    return {id(one): index for index, one in enumerate(task.evaluations)}


def score_tables(task: TaskReport) -> list[ScoreTable]:
    """One table a test set, since figures of different ones do not compare."""
    tables = []
    for test_set in dict.fromkeys(one.test_set for one in task.evaluations):
        group = [one for one in task.evaluations if one.test_set == test_set]
        counts = group[0].counts
        caption = (
            f"Test set {test_set}: {counted(counts['cases'], 'case')} of {counted(counts['patients'], 'patient')} with "
            f"{counted(counts['objects'], 'object')}. Lines are {group[0].confidence:.0%} intervals by patient."
        )
        tables.append(ScoreTable(caption, axis_cell(share_axis()), _score_rows(task, group)))
    return tables


def _score_rows(task: TaskReport, group: Sequence[Evaluation]) -> list[ScoreRow]:
    primary = group[0].primary
    metrics = dict.fromkeys([primary, *(name for one in group for name in one.metrics)])
    numbers = numbers_of(task)
    rows = []
    for metric in metrics:
        having = [one for one in group if metric in one.metrics]
        for position, one in enumerate(having):
            estimate, index = one.metrics[metric], numbers[id(one)]
            digits = 3 if is_share(metric) else 2
            rows.append(
                ScoreRow(
                    metric=metric_name(metric),
                    meaning=metric_meaning(metric),
                    first=position == 0,
                    span=len(having),
                    primary=metric == primary,
                    version=short_name(task.name, one.version),
                    champion=one.version == task.champion,
                    sign=marker(index),
                    value=number(estimate.value, digits),
                    interval=interval(estimate.lower, estimate.upper, digits),
                    plot=interval_cell(estimate, index, share_axis()) if is_share(metric) else "",
                )
            )
    return rows


def difference_table(
    task: str, comparison: Comparison, confidence: float, of: Evaluation | None = None
) -> DifferenceTable:
    """``of``: an evaluation of one of the versions on the same cases, which knows the borders between sizes."""
    shares = {name: one for name, one in comparison.differences.items() if is_share(name)}
    axis = difference_axis(list(shares.values()))
    a, b = short_name(task, comparison.version_a), short_name(task, comparison.version_b)
    ordered = dict.fromkeys([comparison.primary, *shares])
    lower_better = [metric_name(name) for name in ordered if not higher_is_better(name)]
    exception = f" ({', '.join(lower_better)}: left of 0)" if lower_better else ""
    strata_caption, strata_axis, strata = stratum_differences(task, comparison, confidence, of)
    return DifferenceTable(
        version_a=a,
        version_b=b,
        verdict=verdict(task, comparison, confidence),
        caption=(
            f"Differences {b} − {a} on the same cases, paired by "
            f"{counted(comparison.patients, 'patient')}, with {confidence:.0%} intervals. Right of 0: "
            f"{b} is better{exception}. Metrics besides {metric_name(comparison.primary)} are not corrected "
            "for being many."
        ),
        axis=axis_cell(axis),
        rows=[_difference_row(comparison, name, axis, (a, b), confidence) for name in ordered],
        strata_caption=strata_caption,
        strata_axis=strata_axis,
        strata=strata,
    )


def _difference_row(
    comparison: Comparison, name: str, axis: Axis, versions: tuple[str, str], confidence: float
) -> DifferenceRow:
    one = comparison.differences[name]
    favours = ""
    if comparison.p_values[name] < 1 - confidence and not one.lower <= 0 <= one.upper:
        favours = versions[int((one.value > 0) == higher_is_better(name))]
    return DifferenceRow(
        metric=metric_name(name),
        primary=name == comparison.primary,
        value_a=number(comparison.values_a[name]),
        value_b=number(comparison.values_b[name]),
        difference=signed(one.value),
        interval=interval(one.lower, one.upper),
        p=number(comparison.p_values[name]),
        detectable=number(comparison.detectable.get(name, math.nan)),
        plot=interval_cell(one, 1, axis, reference=0.0),
        favours=favours,
    )
