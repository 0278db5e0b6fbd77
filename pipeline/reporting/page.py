"""Records → what the template shows: all choosing, counting and wording happens here, so the template has no logic."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.evaluation import Estimate, Evaluation
from pipeline.reporting.confusion_table import ConfusionTable, confusion_table
from pipeline.reporting.curve_charts import Chart, charts
from pipeline.reporting.gallery import CasePicture
from pipeline.reporting.model_card import CardRow, HistoryRow, card_rows, history_rows, kind_of
from pipeline.reporting.naming import counted, interval, metric_name, number, short_name
from pipeline.reporting.pictures import bytes_uri, panel_svg
from pipeline.reporting.records import TaskReport
from pipeline.reporting.scores import DifferenceTable, ScoreTable, difference_table, numbers_of, score_tables, verdict
from pipeline.reporting.strata_plots import StrataTable, strata_tables
from pipeline.reporting.viewed import embedded_bytes
from pipeline.reporting.viewer_page import Viewer, viewer

_SHOWN_CASES = 100
_GALLERY_HEADINGS = {
    "miss": ("Worst misses", "Annotated objects that were not found: the largest, then those with the lowest score."),
    "false_positive": ("Most confident false positives", "Detections that match no annotation, highest score first."),
    "typical": ("A typical case", "The whole case with the median number of errors."),
}


@dataclass(frozen=True)
class Tile:
    name: str
    value: str
    detail: str


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
class SeenPicture:
    """One picture of why the network says what it says; ``uri`` holds it."""

    title: str
    uri: str
    alternative: str
    shows: str
    not_shown: str
    checked: str


@dataclass(frozen=True)
class TaskView:
    anchor: str
    name: str
    kind: str
    sentences: list[str]
    tiles: list[Tile]
    scores: list[ScoreTable]
    strata: list[StrataTable]
    differences: list[DifferenceTable]
    charts: list[Chart]
    viewer: Viewer | None
    viewer_left_out: str
    gallery: list[Group]
    pictured_version: str
    points: bool
    left_out: int
    seen: list[SeenPicture]
    confusion: list[ConfusionTable]
    card: list[CardRow]
    history: list[HistoryRow]
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
    seen = _seen(task, budget)
    groups, left_out = _gallery(task.pictures, budget)
    shown, none_shown = _viewer(task, budget)
    same_test_set = [one for one in task.evaluations if one.test_set == lead.test_set]
    columns, cases, more = _cases(lead)
    unit = _unit(task)
    return TaskView(
        anchor=anchor,
        name=task.name,
        kind=kind_of(task.config) if task.config else "",
        sentences=_sentences(task),
        tiles=_tiles(lead),
        scores=score_tables(task),
        strata=strata_tables(task.name, same_test_set, numbers_of(task)),
        differences=[difference_table(task.name, one, lead.confidence, lead) for one in task.comparisons],
        charts=charts(task),
        viewer=shown,
        viewer_left_out=none_shown,
        gallery=groups,
        pictured_version=short_name(task.name, task.pictured_version or lead.version),
        points=_points(task.pictures),
        left_out=left_out,
        seen=seen,
        confusion=[one for one in (confusion_table(task.name, lead),) if one is not None],
        card=card_rows(task.config, lead, task.facts, unit) if task.config else [],
        history=history_rows(task.name, task.history),
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
        f"On {counted(counts['cases'], 'test case')} of {counted(counts['patients'], 'patient')}, "
        f"{counts['cases_without_objects']} of them without an object, {name} found {counts['hits']} of "
        f"{counts['objects']} annotated objects and reported {counted(counts['false_positives'], 'false positive')}, "
        f"at a score threshold of {lead.threshold:.2f}."
    )
    return [who, found, *(verdict(task.name, one, lead.confidence) for one in task.comparisons)]


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


def _seen(task: TaskReport, budget: Budget) -> list[SeenPicture]:
    """Those that fit."""
    pictures = []
    for one in task.explained:
        uri = bytes_uri(one.png, "image/png")
        if budget.take(len(uri)):
            pictures.append(SeenPicture(one.title, uri, one.alternative, one.shows, one.not_shown, one.checked))
    return pictures


def _viewer(task: TaskReport, budget: Budget) -> tuple[Viewer | None, str]:
    """The viewer with the cases that fit, and a sentence where none of those chosen does."""
    views = task.views
    if views is None or not views.chosen:
        return None, ""
    kept = [one for one in views.cases if budget.take(embedded_bytes(one))]
    versions = [short_name(task.name, one) for one in (task.pictured_version or task.lead.version, views.other)]
    shown = viewer(views, kept, versions)
    lost = (
        "" if shown else f"The viewer is left out: none of its {views.chosen} cases fits into this file's size limit."
    )
    return shown, lost


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
