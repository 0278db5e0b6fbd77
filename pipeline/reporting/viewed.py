"""Which cases the report's viewer holds, with every annotation and detection, and which findings its table lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np

from pipeline.config.evaluation import MatchRule
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.display import Intensity, grey_range
from pipeline.reporting.encoding import EncodedImage, encode_image
from pipeline.reporting.judging import Judged, Ranked, judge, ranked_false, ranked_misses, typical
from pipeline.reporting.panels import nearest_slice
from pipeline.types import Image

Outcome = Literal["miss", "false_positive", "hit"]

# Embedded as base64, which takes 4 bytes for 3.
_BASE64 = 4 / 3
# A big volume gets at least this share, so that a few cases are shown well rather than many badly.
_LEAST_SHARE = 1_200_000
_MOST_CASES = 12
_BYTES_A_MARK = 75
# Detections below the threshold are kept for the threshold slider up to so many of all a case's detections.
_MOST_DETECTIONS = 3000


@dataclass(frozen=True)
class Finding:
    """One row of the table: an annotation that was missed, or a detection that is false or a hit.

    ``index`` counts the case's annotations where ``outcome`` is ``miss``, else its detections, highest score first.
    ``score`` of a miss is that of its best detection, 0 where it has none. ``size`` is the longest edge in the grid's
    unit, ``None`` where only points were annotated. ``slice_index`` is that nearest to its centre; ``None`` in 2D.
    """

    outcome: Outcome
    index: int
    label: str
    score: float
    size: float | None
    slice_index: int | None


@dataclass(frozen=True, eq=False)
class ViewedCase:
    """One case of the viewer. ``detections`` is how many of the highest-scored detections are embedded."""

    judged: Judged
    image: EncodedImage
    findings: tuple[Finding, ...]
    detections: int

    @property
    def case_id(self) -> str:
        return self.judged.case.case_id

    @property
    def grid(self) -> Grid:
        return self.judged.case.annotations.boxes.grid


@dataclass(frozen=True, eq=False)
class CaseViews:
    """The cases of the viewer, worst first. ``chosen`` were worth showing; ``of`` are all that were tested."""

    cases: tuple[ViewedCase, ...]
    chosen: int
    of: int


def case_views(
    cases: Sequence[ScoredCase],
    read: Callable[[str], Image],
    rule: MatchRule,
    threshold: float,
    *,
    intensity: Intensity | None = None,
    limit: int = 5_000_000,
    most: int = _MOST_CASES,
) -> CaseViews:
    """The cases with the worst misses and the most confident false positives, in turn, and a typical one.

    Args:
        cases: as they were evaluated.
        read: case id → its image ``(channel, i, j[, k])`` on the case's grid; called for the chosen cases only.
        rule: the experiment's match rule.
        threshold: the version's.
        intensity: the grey values shown at first; the experiment's ``preprocessing.intensity`` suits.
        limit: bytes that all cases together may take in the file.
        most: at most so many cases.
    """
    judged = [judge(case, rule, threshold) for case in cases]
    chosen = choose(judged, most)
    viewed, left = [], limit
    for position, one in enumerate(chosen):
        fair = left // (len(chosen) - position)
        case = _viewed(one, read(one.case.case_id), intensity, (fair, min(left, max(fair, _LEAST_SHARE))))
        if case is not None:
            viewed.append(case)
            left -= embedded_bytes(case)
    return CaseViews(tuple(viewed), len(chosen), len(judged))


def choose(judged: Sequence[Judged], most: int) -> list[Judged]:
    """Cases in the order in which they deserve a place: misses and false positives in turn; third, the typical one."""
    if not judged:
        return []
    misses, false = _each_once(ranked_misses(judged)), _each_once(ranked_false(judged))
    turns = [one for pair in zip_longest(misses, false) for one in pair if one is not None]
    unique = {one.case.case_id: one for one in [*turns[:2], typical(judged), *turns[2:]]}
    return list(unique.values())[:most]


def _each_once(entries: Ranked) -> list[Judged]:
    """The cases by their first entry."""
    return list({one.case.case_id: one for one, _ in reversed(entries)}.values())[::-1]


def embedded_bytes(case: ViewedCase) -> int:
    """About what a case takes in the file."""
    marks = len(case.judged.case.annotations) + case.detections
    return round(case.image.bytes * _BASE64) + 4 * len(case.image.planes) + marks * _BYTES_A_MARK + 1000


def _viewed(one: Judged, image: Image, intensity: Intensity | None, shares: tuple[int, int]) -> ViewedCase | None:
    """Encoded within the first share if that holds all slices in full size, else within the second."""
    findings = _findings(one)
    detections = max(int((one.case.detections.scores >= one.threshold).sum()), _MOST_DETECTIONS)
    detections = min(detections, len(one.case.detections))
    marks = (len(one.case.annotations) + detections) * _BYTES_A_MARK + 1000
    slices = sorted({finding.slice_index for finding in findings if finding.slice_index is not None})
    grid = one.case.annotations.boxes.grid
    shown = grey_range(image, intensity)
    encoded = None
    for share in dict.fromkeys(shares):
        encoded = encode_image(image, grid, shown, round((share - marks) / _BASE64), slices)
        if encoded is not None and encoded.complete:
            break
    return None if encoded is None else ViewedCase(one, encoded, findings, detections)


def _findings(one: Judged) -> tuple[Finding, ...]:
    """Misses, then false positives, then hits, each in the order of `judging`."""
    annotations, detections = one.case.annotations, one.case.detections
    misses = [
        _finding("miss", annotations.boxes, index, annotations.labels[index], one.best_score[index], one)
        for _, index in ranked_misses([one])
    ]
    false = [(index, "false_positive") for _, index in ranked_false([one])]
    hits = [(int(index), "hit") for index in np.flatnonzero(one.hit & (detections.scores >= one.threshold))]
    names = detections.label_names
    return (
        *misses,
        *(
            _finding(outcome, detections.boxes, index, names[index], detections.scores[index], one)
            for index, outcome in [*false, *hits]
        ),
    )


def _finding(outcome: str, boxes: Boxes, index: int, label: str, score: float, one: Judged) -> Finding:
    size = None if one.case.annotations.from_points else float(boxes.sizes_world[index].max())
    slice_index = nearest_slice(boxes, index) if boxes.grid.dims == 3 else None
    return Finding(outcome, index, label, float(score), size, slice_index)  # type: ignore[arg-type]
