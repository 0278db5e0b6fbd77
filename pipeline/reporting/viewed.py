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
from pipeline.reporting.versus import Disagreement, Other, disagreements, gained
from pipeline.types import Image

Outcome = Literal["miss", "false_positive", "hit"]
Differs = Literal["", "gained", "lost"]

# Embedded as base64, which takes 4 bytes for 3.
_BASE64 = 4 / 3
# A big volume gets at least this share, so that a few cases are shown well rather than many badly.
_LEAST_SHARE = 1_200_000
_MOST_CASES = 12
_BYTES_A_MARK = 62
# Detections below the threshold are kept for the threshold slider up to so many of all a case's detections.
_MOST_DETECTIONS = 1500


@dataclass(frozen=True)
class Finding:
    """One row of the table: an annotation that was missed, or a detection that is false or a hit.

    ``index`` counts the case's annotations where ``outcome`` is ``miss``, else its detections, highest score first.
    ``score`` of a miss is that of its best detection, 0 where it has none. ``size`` is the longest edge in the grid's
    unit, ``None`` where only points were annotated. ``slice_index`` is that nearest to its centre; ``None`` in 2D.
    ``other_score`` is the score that another version gave to the same object, ``None`` where there is no other version
    or no object; ``differs``: found by this version only (gained), or by the other only (lost).
    """

    outcome: Outcome
    index: int
    label: str
    score: float
    size: float | None
    slice_index: int | None
    other_score: float | None = None
    differs: Differs = ""


@dataclass(frozen=True, eq=False)
class ViewedCase:
    """One case of the viewer, and what another version made of it.

    ``kept`` is how many of the highest-scored detections of each version are embedded.
    """

    judged: Judged
    image: EncodedImage
    findings: tuple[Finding, ...]
    kept: tuple[int, ...]
    other: Judged | None = None

    @property
    def versions(self) -> list[Judged]:
        """The pictured version first."""
        return [self.judged] if self.other is None else [self.judged, self.other]

    @property
    def case_id(self) -> str:
        return self.judged.case.case_id

    @property
    def grid(self) -> Grid:
        return self.judged.case.annotations.boxes.grid


@dataclass(frozen=True, eq=False)
class CaseViews:
    """The cases of the viewer, worst first. ``chosen`` were worth showing; ``of`` are all that were tested.

    ``other`` names the version that the pictured one is compared with, ``differences`` how they differ in each case.
    """

    cases: tuple[ViewedCase, ...]
    chosen: int
    of: int
    other: str = ""
    differences: tuple[Disagreement, ...] = ()


def case_views(
    cases: Sequence[ScoredCase],
    read: Callable[[str], Image],
    rule: MatchRule,
    threshold: float,
    *,
    intensity: Intensity | None = None,
    limit: int = 5_000_000,
    most: int = _MOST_CASES,
    other: Other | None = None,
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
        other: a version to compare with; cases in which one found what the other missed then come in turn too.
    """
    judged = [judge(case, rule, threshold) for case in cases]
    others = other.judged(rule) if other else {}
    differences = disagreements(judged, others)
    chosen = choose(judged, most, [one.case_id for one in differences if one.gained or one.lost])
    viewed, left = [], limit
    for position, one in enumerate(chosen):
        fair = left // (len(chosen) - position)
        shares = (fair, min(left, max(fair, _LEAST_SHARE)))
        case = _viewed(one, others.get(one.case.case_id), read(one.case.case_id), intensity, shares)
        if case is not None:
            viewed.append(case)
            left -= embedded_bytes(case)
    return CaseViews(tuple(viewed), len(chosen), len(judged), other.version if other else "", differences)


def choose(judged: Sequence[Judged], most: int, differing: Sequence[str] = ()) -> list[Judged]:
    """Cases in the order in which they deserve a place: misses and false positives in turn; third, the typical one.

    Before each of these turns goes one of the ``differing`` cases.
    """
    if not judged:
        return []
    by_id = {one.case.case_id: one for one in judged}
    queues = [[by_id[name] for name in differing], _each_once(ranked_misses(judged)), _each_once(ranked_false(judged))]
    turns = [one for turn in zip_longest(*queues) for one in turn if one is not None]
    unique = {one.case.case_id: one for one in [*turns[:2], typical(judged), *turns[2:]]}
    return list(unique.values())[:most]


def _each_once(entries: Ranked) -> list[Judged]:
    """The cases by their first entry."""
    return list({one.case.case_id: one for one, _ in reversed(entries)}.values())[::-1]


def embedded_bytes(case: ViewedCase) -> int:
    """About what a case takes in the file."""
    marks = len(case.judged.case.annotations) + sum(case.kept)
    return round(case.image.bytes * _BASE64) + 4 * len(case.image.planes) + marks * _BYTES_A_MARK + 1000


def _viewed(
    one: Judged, other: Judged | None, image: Image, intensity: Intensity | None, shares: tuple[int, int]
) -> ViewedCase | None:
    """Encoded within the first share if that holds all slices in full size, else within the second."""
    findings = _findings(one, other)
    kept = tuple(_kept(version) for version in ([one] if other is None else [one, other]))
    marks = (len(one.case.annotations) + sum(kept)) * _BYTES_A_MARK + 1000
    slices = sorted({finding.slice_index for finding in findings if finding.slice_index is not None})
    grid = one.case.annotations.boxes.grid
    shown = grey_range(image, intensity)
    encoded = None
    for share in dict.fromkeys(shares):
        room = round((share - marks) / _BASE64)
        encoded = encode_image(image, grid, shown, room, slices, hounsfield=is_hounsfield(one.case))
        if encoded is not None and encoded.complete:
            break
    return None if encoded is None else ViewedCase(one, encoded, findings, kept, other)


def is_hounsfield(case: ScoredCase) -> bool:
    return case.attributes.get("modality") == "CT"


def _kept(one: Judged) -> int:
    reported = int((one.case.detections.scores >= one.threshold).sum())
    return min(max(reported, _MOST_DETECTIONS), len(one.case.detections))


def _findings(one: Judged, other: Judged | None) -> tuple[Finding, ...]:
    """Misses, then false positives, then hits, each in the order of `judging`."""
    annotations, detections = one.case.annotations, one.case.detections
    scores = None if other is None else other.best_score
    lost, won = (None, None) if other is None else (gained(other, one), gained(one, other))
    findings = [
        Finding(
            "miss",
            index,
            annotations.labels[index],
            float(one.best_score[index]),
            *_place(annotations.boxes, index, one),
            other_score=None if scores is None else float(scores[index]),
            differs="lost" if lost is not None and lost[index] else "",
        )
        for _, index in ranked_misses([one])
    ]
    names = detections.label_names
    for _, index in ranked_false([one]):
        place = _place(detections.boxes, index, one)
        findings.append(Finding("false_positive", index, names[index], float(detections.scores[index]), *place))
    for index in np.flatnonzero(one.hit & (detections.scores >= one.threshold)).tolist():
        found = int(one.found[index])
        findings.append(
            Finding(
                "hit",
                index,
                names[index],
                float(detections.scores[index]),
                *_place(detections.boxes, index, one),
                other_score=None if scores is None else float(scores[found]),
                differs="gained" if won is not None and won[found] else "",
            )
        )
    return tuple(findings)


def _place(boxes: Boxes, index: int, one: Judged) -> tuple[float | None, int | None]:
    """Size and slice of a finding."""
    size = None if one.case.annotations.from_points else float(boxes.sizes_world[index].max())
    return size, nearest_slice(boxes, index) if boxes.grid.dims == 3 else None
