"""FROC: the share of objects found against the false detections a scan, over all thresholds.

Sensitivity at a rate is what a threshold really reaches: the highest one whose false detections per scan stay at
or below the rate. LUNA16's script and MONAI draw a straight line between thresholds instead and so give a little
more. Every scan counts in "per scan", those without an object too.

CPM, the competition performance metric, is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false detections
a scan (Niemeijer et al., IEEE TMI 30(2):215, 2011; Setio et al., Med. Image Anal. 42:1, 2017).
"""

import numpy as np

from pipeline.evaluation.ranking import Steps, ratio

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def sensitivities(steps: Steps, rates: tuple[float, ...] = CPM_RATES) -> np.ndarray:
    """Sensitivity at each rate of false detections per scan, ``(rounds, rates)``; NaN without an object."""
    last = _at_most(steps.false, np.multiply.outer(steps.cases, np.array(rates)))
    hits = np.concatenate([np.zeros((len(steps.hits), 1), dtype=np.int64), steps.hits], axis=1)
    return ratio(np.take_along_axis(hits, last, axis=1), steps.objects[:, None])


def cpm(steps: Steps) -> np.ndarray:
    """Mean sensitivity at `CPM_RATES`, ``(rounds,)``."""
    return sensitivities(steps).mean(axis=1)


def sensitivity_at(steps: Steps, rate: float) -> np.ndarray:
    """Sensitivity at one rate of false detections per scan, ``(rounds,)``."""
    return sensitivities(steps, (rate,))[:, 0]


def _at_most(rising: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """How many of each row of whole numbers ``(rounds, n)`` are at most each limit ``(rounds, m)``.

    All rows in one search: each is lifted above the one before.
    """
    whole = np.floor(limits).astype(np.int64)
    rows, length = rising.shape
    lift = np.arange(rows, dtype=np.int64)[:, None] * (max(rising.max(initial=0), whole.max(initial=0)) + 1)
    found = np.searchsorted((rising + lift).ravel(), whole + lift, side="right")
    return found - np.arange(rows)[:, None] * length
