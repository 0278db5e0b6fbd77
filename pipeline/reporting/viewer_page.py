"""Cases of the viewer → what the page shows beside them: the rows of the findings, and where two versions differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.reporting.naming import counted, number
from pipeline.reporting.viewed import CaseViews, Finding, ViewedCase
from pipeline.reporting.viewer_block import case_json, shows_hounsfield, told

_HEADINGS = {"miss": "Missed", "false_positive": "False positive", "hit": "Hit"}
_MOST_ROWS = {"miss": 120, "false_positive": 120, "hit": 60}
_MOST_DIFFERENCES = 40


@dataclass(frozen=True)
class FindingRow:
    """``case`` is the number of the JSON block; ``mark`` is ``annotation-3`` or ``detection-0`` within it, empty where
    its slice is not in the file. ``other`` says what the other version made of the same object."""

    outcome: str
    name: str
    label: str
    score: str
    size: str
    case_id: str
    place: str
    case: int
    mark: str
    differs: str
    other: str


@dataclass(frozen=True)
class DifferenceRow:
    """Objects of a case by who found them; ``case`` is the number of its JSON block, -1 where it is not in the file."""

    case_id: str
    case: int
    counts: list[int]


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
    versions: list[str]
    hounsfield: bool
    agreement: str
    differences: list[DifferenceRow]
    more_differences: int


def viewer(views: CaseViews, kept: list[ViewedCase], versions: Sequence[str] = ("the version", "")) -> Viewer | None:
    """What the page shows of ``kept``, those cases of ``views`` that fitted; ``None`` without any.

    ``versions``: what the pictured version is called, and the one that it is compared with.
    """
    if not kept:
        return None
    rows, more = _rows(kept)
    annotations = [one.judged.case.annotations for one in kept]
    points = any(one.from_points for one in annotations)
    names = list(versions[: 2 if views.other else 1])
    differing, more_differing = _differences(views, kept)
    return Viewer(
        cases=[ViewerCase(one.case_id, case_json(one, names, told(one)), told(one)) for one in kept],
        rows=rows,
        more_rows=more,
        left_out=_left_out(views, kept),
        volumes=any(one.grid.dims == 3 for one in kept),
        sized=any(row.size for row in rows),
        points=points,
        ignored=any(bool(one.ignore.any()) for one in annotations),
        unit=kept[0].grid.unit,
        threshold=kept[0].judged.threshold,
        versions=names,
        hounsfield=any(shows_hounsfield(one) for one in kept),
        agreement=_agreement(views, names),
        differences=differing,
        more_differences=more_differing,
    )


def _left_out(views: CaseViews, kept: list[ViewedCase]) -> str:
    text = f"{len(kept)} of {views.of} cases are in this file: those with the worst misses and the most confident "
    text += "false positives, and a typical one"
    text += ", and those where the two versions differ most." if views.other else "."
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


def _agreement(views: CaseViews, names: list[str]) -> str:
    """How many objects only one of two versions found, in all test cases."""
    rows = views.differences
    if not rows:
        return ""
    one, other = names
    won, lost = sum(row.gained for row in rows), sum(row.lost for row in rows)
    same = sum(not row.gained and not row.lost for row in rows)
    return (
        f"{_capital(one)} found {counted(won, 'object')} that {other} missed, and missed {lost} that {other} found. "
        f"Found by both: {sum(row.both for row in rows)}; by neither: {sum(row.neither for row in rows)}. "
        f"In {same} of {counted(len(rows), 'case')} both found the same."
    )


def _differences(views: CaseViews, kept: list[ViewedCase]) -> tuple[list[DifferenceRow], int]:
    """The cases in which one version found what the other missed, and how many more there are."""
    numbers = {one.case_id: number for number, one in enumerate(kept)}
    differing = [row for row in views.differences if row.gained or row.lost]
    rows = [
        DifferenceRow(
            row.case_id,
            numbers.get(row.case_id, -1),
            [row.gained, row.lost, row.both, row.neither, row.false, row.false_other],
        )
        for row in differing[:_MOST_DIFFERENCES]
    ]
    return rows, len(differing) - len(rows)


def _weight(finding: Finding) -> tuple[bool, float, float]:
    """What the versions differ in first; then the largest misses and the highest scores."""
    if finding.outcome == "miss":
        return not finding.differs, -(finding.size or 0.0), finding.score
    return not finding.differs, -finding.score, 0.0


def _row(position: int, one: ViewedCase, finding: Finding) -> FindingRow:
    role = "annotation" if finding.outcome == "miss" else "detection"
    here = finding.slice_index is None or finding.slice_index in one.image.slices
    place = "" if finding.slice_index is None else f"{finding.slice_index + 1}{'' if here else ', not in this file'}"
    return FindingRow(
        outcome=finding.outcome,
        name=_HEADINGS[finding.outcome],
        label=finding.label,
        score=_score(finding.score),
        size="" if finding.size is None else f"{finding.size:.1f}",
        case_id=one.case_id,
        place=place,
        case=position,
        mark=f"{role}-{finding.index}" if here else "",
        differs=finding.differs,
        other=_by_other(one, finding),
    )


def _by_other(one: ViewedCase, finding: Finding) -> str:
    """``found, 0.56`` or ``missed, 0.20``; a false positive is of one version alone."""
    if one.other is None or finding.other_score is None:
        return "–"
    found = finding.other_score > 0 and finding.other_score >= one.other.threshold
    return f"{'found' if found else 'missed'}, {_score(finding.other_score)}"


def _score(score: float) -> str:
    return number(score, 2) if score else "none"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
