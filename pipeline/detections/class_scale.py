"""A threshold for each class, told as one for all."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.detections.detection import Detections


def with_one_threshold(detections: Detections, thresholds: Sequence[float], common: float) -> Detections:
    """Scores changed so that ``score >= common`` says of every class what its own threshold says.

    Each class's scores are mapped by two straight lines, 0 … own threshold onto 0 … common and own … 1 onto common … 1,
    so their order within a class stays. What that means: f1, precision, recall, counts, exports and the viewer use the
    common threshold as they do for a version with one, and it lies on the version's FROC and precision-recall curves.
    These rank detections of different classes by the changed scores: they are curves of all thresholds moving together.
    Calibration is that of the changed scores. Suppression comes before, and compares the network's own.

    Args:
        detections: with the network's scores.
        thresholds: one a class, above 0; 1 or more reports nothing of a class but what scores that much.
        common: above 0.
    """
    own = np.array(thresholds, dtype=np.float64)[detections.labels]
    score = detections.scores
    above = common + (score - own) * np.divide(1 - common, 1 - own, out=np.zeros_like(own), where=own < 1)
    below = np.minimum(score / own * common, np.nextafter(common, 0))
    changed = np.where(score >= own, np.maximum(above, common), below)
    return replace(detections, scores=changed)
