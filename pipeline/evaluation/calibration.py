"""Does a score of 0.8 mean that 8 of 10 such detections are right?

Detections fall into 10 equally wide bins of score (a bin holds its lower edge; the last one both). Those swallowed by
an ignored object are left out, and so is the lowest bin: how many detections score below 0.1 is up to the floor at
which a detector stops reporting, and thousands of them would drown the others. The reliability curve gives for each
bin the share that is right against the mean score. ECE, the expected calibration error, is the mean distance between
the two, weighted by how many detections a bin holds (Naeini et al., AAAI 2015; Guo et al., ICML 2017). 0 is best.
Without a detection from 0.1 up it does not exist.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.evaluation.ranking import ratio

BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """For each case and bin, ``(cases, bins)``: how many detections, the sum of their scores, how many are right."""

    detections: np.ndarray
    scores: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, cases: int, case: np.ndarray, score: np.ndarray, hit: np.ndarray) -> Self:
        """From flat arrays ``(n,)``, one entry a detection that is right or false; scores lie in 0 … 1."""
        # In tenths, rounded: 0.3 is binary's 0.29999… in a product and belongs to the bin that begins at 0.3.
        bins = np.clip(np.floor((score * BINS).round(9)), 0, BINS - 1).astype(np.int64)
        held = bins > 0
        cell, score, hit = (case * BINS + bins)[held], score[held], hit[held]

        def summed(weights: np.ndarray | None) -> np.ndarray:
            return np.bincount(cell, weights, minlength=cases * BINS).reshape(cases, BINS)

        return cls(summed(None), summed(score), summed(hit.astype(np.float64)))

    def error(self, weights: np.ndarray) -> np.ndarray:
        """ECE, ``(rounds,)``, where case ``c`` counts ``weights[r, c]`` times in round ``r``."""
        apart = np.abs(weights @ self.scores - weights @ self.hits).sum(axis=1)
        return ratio(apart, weights @ self.detections.sum(axis=1))

    def pooled_with(self, other: Self) -> "Calibration":
        return Calibration(
            np.concatenate([self.detections, other.detections]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.hits, other.hits]),
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean score and share right of each bin that holds a detection."""
        count = self.detections.sum(axis=0)
        held = count > 0
        return self.scores.sum(axis=0)[held] / count[held], self.hits.sum(axis=0)[held] / count[held]
