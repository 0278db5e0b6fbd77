"""Cases read at a threshold: what was missed, what is false, and which of it a reader should see first.

- A miss is an annotation that no detection at or above the threshold found. Larger ones come first; among equals (and
  always where only points were annotated) the one to which the version gave the lower score.
- A false positive is a detection at or above the threshold that found nothing. Higher scores come first.
- One a case first, so that one bad scan does not fill the list; a second of the same case only when places are left.
- The typical case is the one with the median number of misses and false positives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.evaluation import MatchRule
from pipeline.evaluation import ScoredCase, match_case
from pipeline.reporting.panels import Marks, marks_of


@dataclass(frozen=True, eq=False)
class Judged:
    """One case at the threshold.

    ``missed`` is bool ``(annotations,)``; ``false`` is bool over the reported detections, those at or above the
    threshold; ``best_score`` is ``(annotations,)``: the score of the detection that found each, 0 where none did.
    ``found`` is the annotation that each detection of any score found, -1 where none; ``swallowed`` is bool over all
    detections too: those on an ignored object.
    """

    case: ScoredCase
    threshold: float
    missed: np.ndarray
    false: np.ndarray
    best_score: np.ndarray
    found: np.ndarray
    swallowed: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """Detections of any score that found an object, bool ``(n,)``."""
        return self.found >= 0

    @property
    def seen(self) -> np.ndarray:
        """Counted annotations that were found at the threshold, bool ``(annotations,)``."""
        return ~self.missed & ~self.case.annotations.ignore

    @property
    def errors(self) -> int:
        return int(self.missed.sum() + self.false.sum())

    @property
    def marks(self) -> list[Marks]:
        reported = self.case.detections.above(self.threshold)
        return marks_of(self.case.annotations, reported, missed=self.missed, false=self.false)


Ranked = list[tuple[Judged, int]]


def judge(case: ScoredCase, rule: MatchRule, threshold: float) -> Judged:
    """Match one case and read it at ``threshold``."""
    match = match_case(case, rule)
    reported = case.detections.scores >= threshold
    best = np.zeros(len(case.annotations))
    best[match.found[match.hit]] = case.detections.scores[match.hit]
    found = np.zeros(len(case.annotations), dtype=bool)
    found[match.found[match.hit & reported]] = True
    missed = ~found & ~case.annotations.ignore
    return Judged(case, threshold, missed, match.false[reported], best, match.found, match.swallowed)


def ranked_misses(judged: Sequence[Judged]) -> Ranked:
    """Misses as (case, index of the annotation), the worst first."""
    entries = [(one, int(index)) for one in judged for index in np.flatnonzero(one.missed)]

    def weight(entry: tuple[Judged, int]) -> tuple[float, float]:
        one, index = entry
        annotations = one.case.annotations
        size = 0.0 if annotations.from_points else float(annotations.boxes.sizes_world[index].max())
        return -size, float(one.best_score[index])

    return sorted(entries, key=weight)


def ranked_false(judged: Sequence[Judged]) -> Ranked:
    """False positives as (case, index of the detection), the most confident first."""
    entries = [(one, int(index)) for one in judged for index in np.flatnonzero(one.false)]
    return sorted(entries, key=lambda entry: -float(entry[0].case.detections.scores[entry[1]]))


def spread(entries: Ranked, limit: int) -> Ranked:
    """The first ``limit``, one a case before any case's second; their order is kept."""
    seen: dict[str, int] = {}
    turns = []
    for position, (one, _) in enumerate(entries):
        turn = seen.get(one.case.case_id, 0)
        seen[one.case.case_id] = turn + 1
        turns.append((turn, position))
    return [entries[position] for position in sorted(position for _, position in sorted(turns)[:limit])]


def typical(judged: Sequence[Judged]) -> Judged:
    """The case with the median number of errors."""
    return sorted(judged, key=lambda entry: entry.errors)[len(judged) // 2]
