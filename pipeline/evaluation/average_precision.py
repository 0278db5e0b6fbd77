"""Average precision, in the two definitions that the field uses.

`average_precision` is the area under the precision-recall steps without interpolation, as in scikit-learn. Where
every object is found it equals ``sklearn.metrics.average_precision_score``; that function knows no missed
objects, which here keep recall below 1.

`interpolated_precision` is COCO's AP at one IoU: precision at a recall is the best precision at that recall or a
higher one, averaged over recall 0, 0.01 … 1. It differs from COCO in three points: no cap on detections (COCO keeps
100 an image), equal scores form one step, and a recall of exactly 0.35 is reached (COCO's list holds
0.35000000000000003). ``ap_iou_<iou>`` is this figure for one class, "was it found?".

`mean_precision` is COCO's mAP: `interpolated_precision` averaged over classes, each matched apart, and over IoUs 0.50,
0.55 … 0.95 (Lin et al., ECCV 2014; pycocotools' ``COCOeval``). Classes without an object are left out, as pycocotools
does; MONAI's COCOMetric counts each of them as -1.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.ranking import Ranking, Stretch, ratio
from pipeline.evaluation.running import run_along


def average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Mean precision over the gains in recall, ``(rounds,)``; NaN without an object.

    Case ``c`` counts ``weights[r, c]`` times in round ``r``: whole numbers, ``(rounds, cases)``.
    """
    area = np.zeros(len(weights))
    for rounds, steps in ranking.stretches(weights, only_peaks=False):
        area[rounds] += np.einsum("sr,sr->r", steps.gained, steps.precision)
    return ratio(area, weights @ ranking.objects)


def interpolated_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """COCO's 101-point AP, ``(rounds,)``; NaN without an object. ``weights`` as in `average_precision`."""
    objects = weights @ ranking.objects
    area, best = np.zeros(len(weights)), np.zeros(len(weights))
    for rounds, steps in ranking.stretches(weights, only_peaks=True):
        precision = steps.precision
        np.maximum(precision[-1], best[rounds], out=precision[-1])
        run_along(np.maximum, precision[::-1])
        best[rounds] = precision[0]
        area[rounds] += np.einsum("sr,sr->r", _points(steps, objects[rounds]), precision)
    return np.where(objects > 0, (area + best) / 101, np.nan)  # recall 0: the best precision of all


def mean_precision(each: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of APs ``(rounds,)`` over classes and IoUs; those that do not exist are left out."""
    there = [np.isfinite(one) for one in each]
    return ratio(np.sum([np.nan_to_num(one) for one in each], axis=0), np.sum(there, axis=0))


def _points(steps: Stretch, objects: np.ndarray) -> np.ndarray:
    """How many of the recalls 0.01, 0.02 … 1 each step is the first to reach, ``(steps, rounds)``.

    By whole numbers: 7 objects of 20 are a recall of 0.35, where rounding must not lose a point.
    """
    hits = np.concatenate([steps.hits_before[None], steps.hits])
    return np.diff(np.floor(hits * 100.0 / np.maximum(objects, 1)), axis=0)
