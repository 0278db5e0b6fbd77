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
    limits = np.multiply.outer(steps.cases, np.array(rates))
    last = np.array([np.searchsorted(row, limit, side="right") for row, limit in zip(steps.false, limits, strict=True)])
    hits = np.concatenate([np.zeros((len(steps.hits), 1), dtype=np.int64), steps.hits], axis=1)
    return ratio(np.take_along_axis(hits, last, axis=1), steps.objects[:, None])


def cpm(steps: Steps) -> np.ndarray:
    """Mean sensitivity at `CPM_RATES`, ``(rounds,)``."""
    return sensitivities(steps).mean(axis=1)


def sensitivity_at(steps: Steps, rate: float) -> np.ndarray:
    """Sensitivity at one rate of false detections per scan, ``(rounds,)``."""
    return sensitivities(steps, (rate,))[:, 0]
