"""Is what a version says of the objects' grade right? ROC AUC over objects, beside what their size alone would give.

An object is positive if its annotated grade is at least `POSITIVE_GRADE`; objects without a known grade do not count.
It scores the grade given to it by the detection that found it, of whatever score. AUC is that of `pipeline.evaluation.
roc`: the share of pairs of a positive and a negative object in which the positive scores higher, a tie counting half.

=====================  ===============================================================================================
figure                 meaning
=====================  ===============================================================================================
``grade_auc_found``    of the objects that a detection found
``grade_auc``          of all: an object that none found scores below every other. A missed positive so costs what a
                       wrong grade costs, and a missed negative costs nothing
``grade_auc_by_size``  of all, were the largest edge of their annotated box the score: the reference. It knows where the
                       objects are, and how large
``grade_auc_gain``     ``grade_auc`` - ``grade_auc_by_size``, of the same objects: what the network adds to size
=====================  ===============================================================================================

A test set whose objects are all positive, or none, has no AUC: the figures are left out. So are those by size where
only centre points were annotated, and all but that by size for a version that does not grade.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from pipeline.config.data import POSITIVE_GRADE
from pipeline.evaluation.ranking import ratio
from pipeline.evaluation.roc import auc

GRADE, TRUE_GRADE = "grade", "grade_true"
BY_SIZE, GAIN = "grade_auc_by_size", "grade_auc_gain"
GRADE_FIGURES = ("grade_auc", "grade_auc_found", BY_SIZE, GAIN)


@dataclass(frozen=True, eq=False)
class Grades:
    """Objects of known grade in ``cases`` cases, ``(n,)``: the case of each, its annotated side, the grade given to it,
    its size.

    ``given`` is -inf where no detection found the object; `None` where the version does not grade. ``size`` is `None`
    where it is not known of all.
    """

    cases: int
    case: np.ndarray
    positive: np.ndarray
    given: np.ndarray | None
    size: np.ndarray | None

    @classmethod
    def of(cls, cases: pd.DataFrame, objects: pd.DataFrame) -> Self | None:
        """From the tables of an evaluation; `None` where no grade was asked for, or the known ones are on one side."""
        if TRUE_GRADE not in objects:
            return None
        there = objects[objects[TRUE_GRADE].notna()]
        positive = there[TRUE_GRADE].to_numpy(dtype=np.float64) >= POSITIVE_GRADE
        if positive.all() or not positive.any():
            return None
        case = pd.Index(cases["case_id"]).get_indexer(pd.Index(there["case_id"]))
        size = there["annotation_size_world"].to_numpy(dtype=np.float64)
        given = there[GRADE].to_numpy(dtype=np.float64)
        return cls(
            len(cases),
            case,
            positive,
            np.where(np.isnan(given), -np.inf, given) if objects[GRADE].notna().any() else None,
            None if np.isnan(size).any() else size,
        )

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Those of `GRADE_FIGURES` that exist, each ``(rounds,)``; case ``c`` counts ``weights[r, c]`` times."""
        of_object, figures = weights[:, self.case], {}
        if self.given is not None:
            found = np.isfinite(self.given)
            figures["grade_auc"] = auc(of_object, self.given, self.positive)
            figures["grade_auc_found"] = auc(of_object[:, found], self.given[found], self.positive[found])
        if self.size is not None:
            figures[BY_SIZE] = auc(of_object, self.size, self.positive)
        if self.given is not None and self.size is not None:
            figures[GAIN] = figures["grade_auc"] - figures[BY_SIZE]
        return figures

    def pooled_with(self, other: Self) -> "Grades":
        """Both versions' objects, the other's cases after one's own; grades become standings within each."""
        return Grades(
            self.cases + other.cases,
            np.concatenate([self.case, other.case + self.cases]),
            np.concatenate([self.positive, other.positive]),
            _joined(self._standings(), other._standings()),
            _joined(self.size, other.size),
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """1 - specificity and sensitivity over all objects at each grade, from none called positive to all."""
        if self.given is None:
            return np.zeros(0), np.zeros(0)
        called = self.given[None] >= np.unique(self.given)[::-1, None]
        false = ratio((called & ~self.positive).sum(axis=1), (~self.positive).sum())
        found = ratio((called & self.positive).sum(axis=1), self.positive.sum())
        return np.concatenate([[0.0], false]), np.concatenate([[0.0], found])

    def _standings(self) -> np.ndarray | None:
        if self.given is None:
            return None
        standing = np.searchsorted(np.sort(self.given), self.given, side="right").astype(np.float64)
        return np.where(np.isfinite(self.given), standing, -np.inf)


def _joined(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    return None if one is None or other is None else np.concatenate([one, other])
