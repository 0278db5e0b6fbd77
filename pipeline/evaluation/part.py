"""A part of a test set, and its figures for any weighting of its cases.

Like `pipeline.evaluation.figures.Measured`, but for many small parts: only what is asked for is computed, and the
ranking is made when a figure needs it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from pipeline.evaluation.centre_f1 import f1
from pipeline.evaluation.figures import RANKED_FIGURES, ranked_figures
from pipeline.evaluation.ranking import Ranking, ratio

COUNTED = ("f1", "precision", "recall", "count_error")
PART_FIGURES = (*COUNTED, *RANKED_FIGURES)


@dataclass(frozen=True, eq=False)
class Rows:
    """The objects table as arrays ``(rows,)``. ``case`` is the row of the cases table; ``hit`` is of any score."""

    case: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    false: np.ndarray
    missed: np.ndarray

    @classmethod
    def of(cls, cases: pd.DataFrame, objects: pd.DataFrame) -> Self:
        outcome = objects["outcome"].to_numpy(dtype=object)
        case = pd.Index(cases["case_id"]).get_indexer(pd.Index(objects["case_id"]))
        return cls(case, objects["score"].to_numpy(), outcome == "hit", outcome == "false", outcome == "missed")

    def __getitem__(self, index: np.ndarray) -> "Rows":
        return Rows(self.case[index], self.score[index], self.hit[index], self.false[index], self.missed[index])


@dataclass(frozen=True, eq=False)
class Tally:
    """What a threshold gives in each case, ``(cases,)``, and how to get at the ranking of all detections."""

    objects: np.ndarray
    hits: np.ndarray
    false: np.ndarray
    rank: Callable[[], Ranking]

    @classmethod
    def of(cls, rows: Rows, cases: int, threshold: float) -> Self:
        reported = rows.score >= threshold
        objects = np.bincount(rows.case[rows.hit | rows.missed], minlength=cases)

        def ranking() -> Ranking:
            counted = rows.hit | rows.false
            return Ranking.of(objects, rows.case[counted], rows.score[counted], rows.hit[counted])

        hits, false = (np.bincount(rows.case[some & reported], minlength=cases) for some in (rows.hit, rows.false))
        return cls(objects, hits, false, ranking)

    @cached_property
    def ranking(self) -> Ranking:
        return self.rank()

    def pooled_with(self, other: Self) -> "Tally":
        """Both versions' cases in one, the other's after one's own: rows of weights then mix the versions."""
        return Tally(
            np.concatenate([self.objects, other.objects]),
            np.concatenate([self.hits, other.hits]),
            np.concatenate([self.false, other.false]),
            lambda: self.ranking.pooled_with(other.ranking),
        )

    def exchanged(self, other: Self, swapped: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A figure ``(rounds,)`` of two versions, with their results exchanged in some cases.

        Args:
            other: the other version's, of the same cases.
            swapped: 1 where the case is exchanged in the round, else 0, ``(rounds, cases)``.
            name: of the figure.
        """
        both, mine = self.pooled_with(other), np.hstack([1 - swapped, swapped])
        if name in COUNTED:
            return both.figures(mine, (name,))[name], both.figures(1 - mine, (name,))[name]
        one, another = (ranked_figures(both.ranking, weights, (name,))[name] for weights in (mine, 1 - mine))
        return one, another

    def figures(self, weights: np.ndarray, wanted: Sequence[str] = PART_FIGURES) -> dict[str, np.ndarray]:
        """Figures ``(rounds,)``, where case ``c`` counts ``weights[r, c]`` (whole numbers) times in round ``r``."""
        found = self._counted(weights) if set(wanted) & set(COUNTED) else {}
        if ranked := [name for name in wanted if name in RANKED_FIGURES]:
            found |= ranked_figures(self.ranking, weights, ranked)
        return {name: found[name] for name in wanted}

    def values(self, wanted: Sequence[str] = PART_FIGURES) -> dict[str, float]:
        """Figures of the part as it is."""
        once = np.ones((1, len(self.objects)), dtype=np.int64)
        return {name: float(figure[0]) for name, figure in self.figures(once, wanted).items()}

    def _counted(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        error = np.abs(self.hits + self.false - self.objects)
        each = np.stack([self.objects, self.hits, self.false, error, np.ones_like(error)], axis=1)
        # As floats, which are exact for such counts: numpy multiplies whole numbers slowly.
        objects, hits, false, errors, cases = (weights.astype(np.float64) @ each.astype(np.float64)).T
        return {
            "f1": f1(hits, false, objects),
            "precision": ratio(hits, hits + false),
            "recall": ratio(hits, objects),
            "count_error": ratio(errors, cases),
        }


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a test set.

    ``cases`` ``(c,)``, rising, are the rows of the cases table that count in it; ``tally`` is of these, in this order.
    ``patients`` names those that contribute: with a case, or for a part of the objects with an object or a counted
    detection in it. ``holders`` is how many of them have an object in it.
    """

    cases: np.ndarray
    tally: Tally
    patients: np.ndarray
    holders: int

    @classmethod
    def of(cls, rows: Rows, patients: np.ndarray, threshold: float, cases: np.ndarray | None) -> Self:
        """``rows`` of the part alone; ``cases`` that make it up, ``None`` where it is made up of objects."""
        members = np.arange(len(patients)) if cases is None else cases
        place = np.searchsorted(members, rows.case)
        tally = Tally.of(Rows(place, rows.score, rows.hit, rows.false, rows.missed), len(members), threshold)
        holders = len(np.unique(patients[members[tally.objects > 0]]))
        return cls(members, tally, np.unique(patients[rows.case if cases is None else cases]), holders)

    def patients_behind(self, figure: str) -> int:
        """How many patients the interval of a figure rests on (see `pipeline.evaluation.bearing`)."""
        return len(self.patients) if figure in ("precision", "count_error") else self.holders

    def counts(self) -> dict[str, int]:
        return {
            "patients": len(self.patients),
            "patients_with_objects": self.holders,
            "cases": len(self.cases),
            "objects": int(self.tally.objects.sum()),
            "hits": int(self.tally.hits.sum()),
            "false_positives": int(self.tally.false.sum()),
        }
