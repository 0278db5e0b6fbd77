"""FROC: the share of objects found against the false detections a scan, over all thresholds.

Sensitivity at a rate is what a threshold really reaches: the highest one whose false detections per scan stay at
or below the rate. LUNA16's script and MONAI draw a straight line between thresholds instead and so give a little
more. Every scan counts in "per scan", those without an object too.

CPM, the competition performance metric, is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false detections
a scan (Niemeijer et al., IEEE TMI 30(2):215, 2011; Setio et al., Med. Image Anal. 42:1, 2017).
"""

import numpy as np

from pipeline.evaluation.ranking import Ranking, ratio

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def sensitivities(ranking: Ranking, weights: np.ndarray, rates: tuple[float, ...] = CPM_RATES) -> np.ndarray:
    """Sensitivity at each rate of false detections per scan, ``(rounds, rates)``; NaN without an object.

    Case ``c`` counts ``weights[r, c]`` times in round ``r``: whole numbers, ``(rounds, cases)``.
    """
    limits = np.floor(np.multiply.outer(np.array(rates), weights.sum(axis=1))).astype(np.int64)
    hits = np.zeros(limits.shape, dtype=np.int64)
    for rounds, steps in ranking.stretches(weights, only_peaks=True):
        reached = (steps.false[0] <= limits[:, rounds]) & (hits[:, rounds] == 0)
        rate, place = np.nonzero(reached)
        step = _last_at_most(steps.false, place, limits[rate, rounds.start + place])
        hits[rate, rounds.start + place] = steps.hits[step, place]
    return ratio(hits.T, (weights @ ranking.objects)[:, None])


def froc_figures(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    """``cpm``, the mean sensitivity at `CPM_RATES`, and the sensitivity at two of them, each ``(rounds,)``."""
    found = sensitivities(ranking, weights)
    return {
        "cpm": found.mean(axis=1),
        "sensitivity_at_0_25_fp": found[:, CPM_RATES.index(0.25)],
        "sensitivity_at_1_fp": found[:, CPM_RATES.index(1.0)],
    }


def _last_at_most(rising: np.ndarray, column: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """The last row ``(n,)`` of ``rising`` ``(rows, columns)`` that is at most ``limit`` ``(n,)`` in a column ``(n,)``.

    By halving, all at once. The first row is at most the limit.
    """
    low, high = np.zeros(len(column), dtype=np.int64), np.full(len(column), len(rising))
    while (high - low > 1).any():
        middle = (low + high) // 2
        fits = rising[middle, column] <= limit
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low
