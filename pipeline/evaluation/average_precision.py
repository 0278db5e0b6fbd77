"""Average precision, in the two definitions that the field uses.

`average_precision` is the area under the precision-recall steps without interpolation, as in scikit-learn. Where
every object is found it equals ``sklearn.metrics.average_precision_score``; that function knows no missed
objects, which here keep recall below 1.

`interpolated_precision` is COCO's AP at one IoU: precision at a recall is the best precision at that recall or a
higher one, averaged over recall 0, 0.01 … 1. It differs from COCO in three points: one class (was it found?)
instead of the mean over classes, no cap on detections (COCO keeps 100 an image), and equal scores form one step.
"""

import numpy as np

from pipeline.evaluation.ranking import Steps

# 7 objects of 20 are a recall of 0.35, and linspace's 0.35 is a bit more: rounding must not lose a point.
_RECALLS = np.linspace(0.0, 1.0, 101) - 1e-12


def average_precision(steps: Steps) -> np.ndarray:
    """Mean precision over the gains in recall, ``(rounds,)``; NaN without an object."""
    gained = np.diff(steps.recall, axis=1, prepend=0.0)
    area = (gained * steps.precision).sum(axis=1)
    return np.where(steps.objects > 0, area, np.nan)


def interpolated_precision(steps: Steps) -> np.ndarray:
    """COCO's 101-point AP, ``(rounds,)``; NaN without an object."""
    best = np.maximum.accumulate(steps.precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    at = [np.searchsorted(row, _RECALLS, side="left") for row in steps.recall]
    area = np.take_along_axis(best, np.array(at), axis=1).mean(axis=1)
    return np.where(steps.objects > 0, area, np.nan)
