"""The lines to draw. At most `DRAWN` points, evenly picked with both ends kept: figures are never read off them."""

import numpy as np

from pipeline.evaluation.ranking import Ranking
from pipeline.evaluation.records import Curve

DRAWN = 1000


def froc_curve(ranking: Ranking) -> Curve:
    """Sensitivity against false positives per scan, from no detection at all to all of them.

    Each point is a corner: sensitivity holds from there to the right. Without an object the line has no point.
    """
    steps = ranking.as_it_is()
    rate = np.concatenate([[0], steps.false[0], [len(ranking.false_case)]]) / steps.cases[0]
    found = np.concatenate([[0.0], steps.recall[0]])
    return _curve("false positives per scan", "sensitivity", rate, np.append(found, found[-1]), ranking)


def precision_recall_curve(ranking: Ranking) -> Curve:
    """Precision against recall, one point a score that found something. Without an object the line has no point."""
    steps = ranking.as_it_is()
    return _curve("recall", "precision", steps.recall[0], steps.precision[0], ranking)


def _curve(x_name: str, y_name: str, x: np.ndarray, y: np.ndarray, ranking: Ranking) -> Curve:
    if ranking.objects.sum() == 0:
        return Curve(x_name, y_name, (), ())
    drawn = np.unique(np.linspace(0, len(x) - 1, min(len(x), DRAWN)).round().astype(int))
    return Curve(x_name, y_name, tuple(x[drawn].tolist()), tuple(y[drawn].tolist()))
