"""Records → what the template shows: all choosing, counting and wording happens here, so the template has no logic."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Comparison, Estimate, Evaluation
from pipeline.reporting.charts import (
    Axis,
    Series,
    axis_cell,
    difference_axis,
    interval_cell,
    line_chart,
    marker,
    share_axis,
    value_at,
)
from pipeline.reporting.figures import operating_point
from pipeline.reporting.gallery import CasePicture
from pipeline.reporting.model_card import CardRow, card_rows, kind_of
from pipeline.reporting.naming import (
    axis_name,
    higher_is_better,
    interval,
    is_share,
    metric_meaning,
    metric_name,
    number,
    short_name,
)
from pipeline.reporting.pictures import bytes_uri, panel_svg
from pipeline.reporting.records import TaskReport

_SHOWN_CASES = 100
_GALLERY_HEADINGS = {
    "miss": ("Worst misses", "Annotated objects that were not found: the largest, then those with the lowest score."),
    "false_positive": ("Most confident false positives", "Detections that match no annotation, highest score first."),
    "typical": ("A typical case", "The whole case with the median number of errors."),
}
_CURVES = {
    "froc": ("Sensitivity against false positives", (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
    "precision_recall": ("Precision against sensitivity", (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)),
}


@dataclass(frozen=True)
class Tile:
    name: str
    value: str
    detail: str


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


@dataclass(frozen=True)
class Chart:
    title: str
    svg: Markup
    x_name: str
    y_name: str
    columns: list[str]
    rows: list[tuple[str, Markup, list[str]]]


@dataclass(frozen=True)
class Picture:
    title: str
    note: str
    case_id: str
    panels: list[tuple[Markup, str]]


@dataclass(frozen=True)
class Group:
    """Pictures of one kind; ``kind`` is also a CSS class."""

    kind: str
    heading: str
    explanation: str
    pictures: list[Picture]
    several: bool


@dataclass(frozen=True)
class TaskView:
    anchor: str
    name: str
    kind: str
    sentences: list[str]
    tiles: list[Tile]
    scores: list[ScoreTable]
    differences: list[DifferenceTable]
    charts: list[Chart]
    gallery: list[Group]
    pictured_version: str
    points: bool
    left_out: int
    features: str
    card: list[CardRow]
    case_columns: list[str]
    cases: list[list[str]]
    more_cases: int


class Budget:
    """How many bytes pictures may still take."""

    def __init__(self, total: int) -> None:
        self.left = total

    def take(self, size: int) -> bool:
        """Take ``size`` bytes if they are left."""
        if size > self.left:
            return False
        self.left -= size
        return True


def task_view(task: TaskReport, anchor: str, budget: Budget) -> TaskView:
    """Everything the template needs about one task."""
    lead = task.lead
    groups, left_out = _gallery(task.pictures, budget)
    columns, cases, more = _cases(lead)
    unit = _unit(task)
    return TaskView(
        anchor=anchor,
        name=task.name,
        kind=kind_of(task.config) if task.config else "",
        sentences=_sentences(task),
        tiles=_tiles(lead),
        scores=_score_tables(task),
        differences=[_differences(task.name, one, lead.confidence) for one in task.comparisons],
        charts=_charts(task),
        gallery=groups,
        pictured_version=short_name(task.name, task.pictured_version or lead.version),
        points=_points(task.pictures),
        left_out=left_out,
        features=bytes_uri(task.feature_maps, "image/png") if task.feature_maps else "",
        card=card_rows(task.config, lead, task.facts, unit) if task.config else [],
        case_columns=columns,
        cases=cases,
        more_cases=more,
    )


def _sentences(task: TaskReport) -> list[str]:
    lead, counts = task.lead, task.lead.counts
    name = short_name(task.name, lead.version)
    held = lead.version == task.champion
    who = f"{name[0].upper()}{name[1:]} holds @champion." if held else "No version shown holds @champion."
    found = (
        f"On {_count(counts['cases'], 'test case')} of {_count(counts['patients'], 'patient')}, "
        f"{counts['cases_without_objects']} of them without an object, {name} found {counts['hits']} of "
        f"{counts['objects']} annotated objects and reported {_count(counts['false_positives'], 'false positive')}, "
        f"at a score threshold of {lead.threshold:.2f}."
    )
    return [who, found, *(_verdict(task.name, one, lead.confidence) for one in task.comparisons)]


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"


def _verdict(task: str, comparison: Comparison, confidence: float) -> str:
    """One sentence; it calls a version better only where the interval and the permutation test say so."""
    name, one = metric_name(comparison.primary), comparison.differences[comparison.primary]
    p = comparison.p_values[comparison.primary]
    a, b = short_name(task, comparison.version_a), short_name(task, comparison.version_b)
    upper_b = b[0].upper() + b[1:]
    if not interval(one.lower, one.upper):
        return f"{upper_b} against {a}: {name} differs by {_signed(one.value)}; there is no interval to judge that by."
    shown = f"{name} {_signed(one.value)} {interval(one.lower, one.upper)}, p = {number(p)}"
    if one.lower <= 0 <= one.upper:
        return f"No difference is shown between {b} and {a}: {shown}."
    word = "better" if one.lower > 0 else "worse"
    if p < 1 - confidence:
        return f"{upper_b} is {word} than {a}: {shown}."
    few = _count(comparison.patients, "patient")
    return f"{upper_b} looks {word} than {a}, but {few} do not settle it: {shown}."


def _signed(value: float) -> str:
    return number(value) if value < 0 or value != value else f"+{number(value)}"


def _tiles(lead: Evaluation) -> list[Tile]:
    names = list(dict.fromkeys([lead.primary, "recall", "precision"]))
    tiles = [
        Tile(metric_name(name), number(lead.metrics[name].value), _detail(lead.metrics[name], lead.confidence))
        for name in names
        if name in lead.metrics
    ]
    rate = lead.counts["false_positives"] / max(lead.counts["cases"], 1)
    return [*tiles, Tile("False positives per scan", number(rate, 2), f"over {lead.counts['cases']} cases")]


def _detail(estimate: Estimate, confidence: float) -> str:
    shown = interval(estimate.lower, estimate.upper)
    return f"{confidence:.0%} interval {shown}" if shown else "no interval"


def _numbers(task: TaskReport) -> dict[int, int]:
    """Each evaluation's colour and marker, by identity."""
    return {id(one): index for index, one in enumerate(task.evaluations)}


def _score_tables(task: TaskReport) -> list[ScoreTable]:
    """One table a test set, since figures of different ones do not compare."""
    tables = []
    for test_set in dict.fromkeys(one.test_set for one in task.evaluations):
        group = [one for one in task.evaluations if one.test_set == test_set]
        counts = group[0].counts
        caption = (
            f"Test set {test_set}: {_count(counts['cases'], 'case')} of {_count(counts['patients'], 'patient')} with "
            f"{_count(counts['objects'], 'object')}. Lines are {group[0].confidence:.0%} intervals by patient."
        )
        tables.append(ScoreTable(caption, axis_cell(share_axis()), _score_rows(task, group)))
    return tables


def _score_rows(task: TaskReport, group: Sequence[Evaluation]) -> list[ScoreRow]:
    primary = group[0].primary
    metrics = dict.fromkeys([primary, *(name for one in group for name in one.metrics)])
    numbers = _numbers(task)
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


def _differences(task: str, comparison: Comparison, confidence: float) -> DifferenceTable:
    shares = {name: one for name, one in comparison.differences.items() if is_share(name)}
    axis = difference_axis(list(shares.values()))
    a, b = short_name(task, comparison.version_a), short_name(task, comparison.version_b)
    ordered = dict.fromkeys([comparison.primary, *shares])
    return DifferenceTable(
        version_a=a,
        version_b=b,
        verdict=_verdict(task, comparison, confidence),
        caption=(
            f"Differences {b} − {a} on the same cases, paired by "
            f"{_count(comparison.patients, 'patient')}, with {confidence:.0%} intervals. Right of 0: "
            f"{b} is better. Metrics besides {metric_name(comparison.primary)} are not corrected "
            "for being many."
        ),
        axis=axis_cell(axis),
        rows=[_difference_row(comparison, name, axis, (a, b), confidence) for name in ordered],
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
        difference=_signed(one.value),
        interval=interval(one.lower, one.upper),
        p=number(comparison.p_values[name]),
        plot=interval_cell(one, 1, axis, reference=0.0),
        favours=favours,
    )


def _charts(task: TaskReport) -> list[Chart]:
    """Curves of the versions that share the lead's test set."""
    numbers = _numbers(task)
    group = [one for one in task.evaluations if one.test_set == task.lead.test_set]
    charts = []
    for name, (title, marks) in _CURVES.items():
        having = [one for one in group if name in one.curves and one.curves[name].x]
        if not having:
            continue
        series = [
            Series(numbers[id(one)], short_name(task.name, one.version), one.curves[name], operating_point(name, one))
            for one in having
        ]
        froc = name == "froc"
        rows = [
            (one.name, marker(one.number), [number(value_at(one.curve, x, froc=froc), 2) for x in marks])
            for one in series
        ]
        curve = series[0].curve
        label = f"{title} of {', '.join(one.name for one in series)}; the table below the chart has the numbers"
        svg = line_chart(series, label, froc=froc)
        charts.append(
            Chart(title, svg, axis_name(curve.x_name), axis_name(curve.y_name), [f"{x:g}" for x in marks], rows)
        )
    return charts


def _gallery(pictures: Sequence[CasePicture], budget: Budget) -> tuple[list[Group], int]:
    """Groups by kind, and how many pictures the size limit left out."""
    groups, left_out = [], 0
    for kind, (heading, explanation) in _GALLERY_HEADINGS.items():
        shown = []
        for one in (picture for picture in pictures if picture.kind == kind):
            title = f"{one.title} in case {one.case_id}"
            panels = [(panel_svg(panel, f"{title} {panel.caption}"), panel.caption) for panel in one.panels]
            if not budget.take(sum(len(svg) for svg, _ in panels)):
                left_out += 1
                continue
            shown.append(Picture(one.title, one.note, one.case_id, panels))
        if shown:
            groups.append(Group(kind, heading, explanation, shown, any(len(one.panels) > 1 for one in shown)))
    return groups, left_out


def _points(pictures: Sequence[CasePicture]) -> bool:
    """Whether the pictures mark centres, which decides on the signs of the legend."""
    return any(one.point for picture in pictures for panel in picture.panels for one in panel.outlines)


def _cases(lead: Evaluation) -> tuple[list[str], list[list[str]], int]:
    """The cases with the most errors first; columns, rows, and how many are not listed."""
    table = lead.cases
    columns = [name for name in ("case_id", "objects", "hits", "misses", "false_positives") if name in table]
    order = (table["misses"] + table["false_positives"]).sort_values(ascending=False, kind="stable").index
    rows = table.loc[order[:_SHOWN_CASES], columns].astype(str).to_numpy().tolist()
    return [name.replace("_", " ") for name in columns], rows, max(0, len(table) - _SHOWN_CASES)


def _unit(task: TaskReport) -> str:
    units = {panel.unit for picture in task.pictures for panel in picture.panels}
    return units.pop() if len(units) == 1 else "units of the scan's grid"
