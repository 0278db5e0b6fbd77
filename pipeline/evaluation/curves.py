"""The lines to draw. At most `DRAWN` points, evenly picked with both ends kept: figures are never read off them."""

import numpy as np

from pipeline.evaluation.calibration import Calibration
from pipeline.evaluation.figures import Measured
from pipeline.evaluation.grades import Grades
from pipeline.evaluation.ranking import Ranking, ratio
from pipeline.evaluation.records import Curve
from pipeline.evaluation.roc import Scans

DRAWN = 1000


def curves_of(measured: Measured) -> dict[str, Curve]:
    """All lines of an evaluation; that of grades where there are any."""
    return {
        "froc": froc_curve(measured.ranking),
        "precision_recall": precision_recall_curve(measured.ranking),
        "calibration": calibration_curve(measured.calibration),
        "roc_scan": roc_curve(measured.scans),
        **({"roc_grade": grade_curve(measured.grades)} if measured.grades else {}),
    }


def froc_curve(ranking: Ranking) -> Curve:
    """Sensitivity against false positives per scan, from no detection at all to all of them.

    Each point is a corner: sensitivity holds from there to the right. Without an object the line has no point.
    """
    rate = np.concatenate([[0], ranking.step_false, [len(ranking.false_case)]]) / len(ranking.objects)
    found = np.concatenate([[0.0], _recall(ranking)])
    return _curve("false positives per scan", "sensitivity", rate, np.append(found, found[-1]), ranking)


def precision_recall_curve(ranking: Ranking) -> Curve:
    """Precision against recall, one point a score that found something. Without an object the line has no point."""
    precision = ranking.step_hits / (ranking.step_hits + ranking.step_false)
    return _curve("recall", "precision", _recall(ranking), precision, ranking)


def roc_curve(scans: Scans) -> Curve:
    """Sensitivity against 1 - specificity of whole scans. Where all are positive, or none, the line has no point."""
    if scans.positive.all() or not scans.positive.any():
        return Curve("1 - specificity", "sensitivity", (), ())
    return _drawn("1 - specificity", "sensitivity", *scans.curve())


def grade_curve(grades: Grades) -> Curve:
    """Sensitivity against 1 - specificity of the objects' grade. Without a grade given the line has no point."""
    return _drawn("1 - specificity", "sensitivity", *grades.curve())


def calibration_curve(calibration: Calibration) -> Curve:
    """Share of detections that are right against their mean score, one point a bin that holds any."""
    return _drawn("mean score", "share right", *calibration.curve())


def _recall(ranking: Ranking) -> np.ndarray:
    return ratio(ranking.step_hits, ranking.objects.sum())


def _curve(x_name: str, y_name: str, x: np.ndarray, y: np.ndarray, ranking: Ranking) -> Curve:
    if ranking.objects.sum() == 0:
        return Curve(x_name, y_name, (), ())
    return _drawn(x_name, y_name, x, y)


def _drawn(x_name: str, y_name: str, x: np.ndarray, y: np.ndarray) -> Curve:
    drawn = np.unique(np.linspace(0, max(len(x) - 1, 0), min(len(x), DRAWN)).round().astype(int))
    return Curve(x_name, y_name, tuple(x[drawn].tolist()), tuple(y[drawn].tolist()))
