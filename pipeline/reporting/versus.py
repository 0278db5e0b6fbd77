"""Two versions on the same cases: which objects only one of them found, at each one's own threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.evaluation import MatchRule
from pipeline.evaluation import ScoredCase
from pipeline.reporting.judging import Judged, judge


@dataclass(frozen=True, eq=False)
class Other:
    """The version that the pictured one is compared with: its name, the same cases as it scored them, its threshold."""

    version: str
    cases: tuple[ScoredCase, ...]
    threshold: float

    def judged(self, rule: MatchRule) -> dict[str, Judged]:
        """By case id."""
        return {case.case_id: judge(case, rule, self.threshold) for case in self.cases}


@dataclass(frozen=True)
class Disagreement:
    """How many objects of a case only the pictured version found (``gained``), only the other (``lost``), both or
    neither; and the false positives of both."""

    case_id: str
    gained: int
    lost: int
    both: int
    neither: int
    false: int
    false_other: int


def gained(one: Judged, other: Judged) -> np.ndarray:
    """Annotations that ``one`` found and ``other`` missed, bool ``(annotations,)``; turned round: those lost.

    Raises:
        ValueError: they are not the same annotations.
    """
    if len(one.missed) != len(other.missed):
        raise ValueError(
            f"case {one.case.case_id}: expected the same annotations for both versions, got {len(one.missed)} and "
            f"{len(other.missed)}"
        )
    return one.seen & other.missed


def disagreements(judged: Sequence[Judged], others: dict[str, Judged]) -> tuple[Disagreement, ...]:
    """Of the cases that both scored; those first in which most objects were found by one version only."""
    rows = []
    for one in judged:
        other = others.get(one.case.case_id)
        if other is None:
            continue
        rows.append(
            Disagreement(
                case_id=one.case.case_id,
                gained=int(gained(one, other).sum()),
                lost=int(gained(other, one).sum()),
                both=int((one.seen & other.seen).sum()),
                neither=int((one.missed & other.missed).sum()),
                false=int(one.false.sum()),
                false_other=int(other.false.sum()),
            )
        )
    return tuple(sorted(rows, key=lambda row: -(row.gained + row.lost)))
