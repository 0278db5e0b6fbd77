"""Average precision, in the two definitions that the field uses.

`average_precision` is the area under the precision-recall steps without interpolation, as in scikit-learn. Where
every object is found it equals ``sklearn.metrics.average_precision_score``; that function knows no missed
objects, which here keep recall below 1.

`interpolated_precision` is COCO's AP at one IoU: precision at a recall is the best precision at that recall or a
higher one, averaged over recall 0, 0.01 … 1. It differs from COCO in two points: no cap on detections (COCO keeps 100
an image), and equal scores form one step. ``ap_iou_<iou>`` is this figure for one class, "was it found?".

`mean_precision` is COCO's mAP: `interpolated_precision` averaged over classes, each matched apart, and over IoUs 0.50,
0.55 … 0.95 (Lin et al., ECCV 2014; pycocotools' ``COCOeval``). Classes without an object are left out, as pycocotools
does; MONAI's COCOMetric counts each of them as -1.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.ranking import Steps, ratio

# 7 objects of 20 are a recall of 0.35, and linspace's 0.35 is a bit more: rounding must not lose a point.
_RECALLS = np.linspace(0.0, 1.0, 101) - 1e-12


def average_precision(steps: Steps) -> np.ndarray:
    """Mean precision over the gains in recall, ``(rounds,)``; NaN without an object."""
    gained = np.diff(steps.recall, axis=1, prepend=0.0)
    area = (gained * steps.precision).sum(axis=1)
    return np.where(steps.objects > 0, area, np.nan)


def interpolated_precision(steps: Steps) -> np.ndarray:
    """COCO's 101-point AP, ``(rounds,)``; NaN without an object."""
    needed = np.ceil(np.multiply.outer(steps.objects, _RECALLS)).astype(steps.hits.dtype)
    area = [_mean_of_best(*row) for row in zip(steps.hits, steps.precision, needed, strict=True)]
    return np.where(steps.objects > 0, area, np.nan)


def mean_precision(each: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of APs ``(rounds,)`` over classes and IoUs; those that do not exist are left out."""
    there = [np.isfinite(one) for one in each]
    return ratio(np.sum([np.nan_to_num(one) for one in each], axis=0), np.sum(there, axis=0))


def _mean_of_best(hits: np.ndarray, precision: np.ndarray, needed: np.ndarray) -> float:
    """Mean over ``needed`` of the best precision at that number of hits or more; 0 where it is not reached."""
    at = np.searchsorted(hits, needed)
    at = at[at < len(hits)]
    if len(at) == 0:
        return 0.0
    best = np.maximum.accumulate(np.maximum.reduceat(precision, at)[::-1])
    return float(best.sum()) / len(needed)
