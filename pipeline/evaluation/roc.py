"""Does a scan, or a patient, hold anything at all? ROC AUC of whole scans and of whole patients.

A scan's score is its highest detection score (detections swallowed by an ignored object left out); a scan without a
detection scores below every other. It is positive if it has a counted object. A patient's score is the highest of the
scans', and a patient with one positive scan is positive. AUC is the share of pairs of a positive and a negative in
which the positive scores higher, a tie counting half (Hanley & McNeil, Radiology 143:29, 1982). A test set in which
all are positive, or none, has no AUC: the figure is left out.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.evaluation.ranking import ratio


@dataclass(frozen=True, eq=False)
class Scans:
    """``score`` (-inf without a detection), ``positive`` and ``patient`` (an index from 0) are ``(cases,)``."""

    score: np.ndarray
    positive: np.ndarray
    patient: np.ndarray

    @classmethod
    def of(cls, objects: np.ndarray, patients: np.ndarray, case: np.ndarray, score: np.ndarray) -> Self:
        """From ``objects`` and ``patients`` ``(cases,)``, and the case and score of each counted detection ``(n,)``."""
        highest = np.full(len(objects), -np.inf)
        np.maximum.at(highest, case, score)
        return cls(highest, objects > 0, np.unique(patients.astype(str), return_inverse=True)[1])

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """``scan_auc patient_auc``, those that exist, each ``(rounds,)``.

        Case ``c`` counts ``weights[r, c]`` times in round ``r``.
        All scans of a patient have one weight, as when patients are drawn; where they differ the largest counts.
        """
        order = np.argsort(self.patient, kind="stable")
        first = np.searchsorted(self.patient[order], np.arange(self.patient.max(initial=-1) + 1))
        score, positive = (
            np.maximum.reduceat(self.score[order], first),
            np.maximum.reduceat(self.positive[order], first),
        )
        figures = {}
        if _both(self.positive):
            figures["scan_auc"] = auc(weights, self.score, self.positive)
        if _both(positive):
            drawn = np.maximum.reduceat(weights[:, order], first, axis=1)
            figures["patient_auc"] = auc(drawn, score, positive)
        return figures

    def pooled_with(self, other: Self) -> "Scans":
        """Both versions' scans, the other's after one's own; scores become standings among the version's own scans."""
        return Scans(
            np.concatenate([self._standings(), other._standings()]),
            np.concatenate([self.positive, other.positive]),
            np.concatenate([self.patient, other.patient + self.patient.max(initial=-1) + 1]),
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """1 - specificity and sensitivity of scans at each threshold, from none called positive to all."""
        scores = np.unique(self.score)[::-1]
        called = self.score[None] >= scores[:, None]
        false = ratio((called & ~self.positive).sum(axis=1), (~self.positive).sum())
        found = ratio((called & self.positive).sum(axis=1), self.positive.sum())
        return np.concatenate([[0.0], false]), np.concatenate([[0.0], found])

    def _standings(self) -> np.ndarray:
        return np.searchsorted(np.sort(self.score), self.score, side="right").astype(np.float64)


def _both(positive: np.ndarray) -> bool:
    return bool(positive.any() and not positive.all())


def auc(weights: np.ndarray, score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, ``(rounds,)``, where entry ``c`` counts ``weights[r, c]`` times in round ``r``."""
    order = np.argsort(score, kind="stable")
    score, positive, weights = score[order], positive[order].astype(bool), weights[:, order]
    negatives = np.zeros((len(weights), len(score) + 1), dtype=np.int64)
    np.cumsum(np.where(positive, 0, weights), axis=1, out=negatives[:, 1:])
    below = negatives[:, np.searchsorted(score, score, side="left")]
    to_here = negatives[:, np.searchsorted(score, score, side="right")]
    ahead = (np.where(positive, weights, 0) * (below + to_here)).sum(axis=1)
    return ratio(ahead, 2 * weights[:, positive].sum(axis=1) * negatives[:, -1])
