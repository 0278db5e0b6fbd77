"""Figures at one threshold: F1, precision, recall, the same for each class, and the error in the count.

All are sums of counts a case, so a resampled test set is one matrix product. F1 is ``2 TP / (2 TP + FP + FN)``. For a
class, TP asks for both: the object was located and the detection names its class. The weighted class F1 is the mean
over classes by how many objects each has, as Sirinukunwattana et al. report it (IEEE TMI 35(5):1196, 2016).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.evaluation.ranking import ratio


@dataclass(frozen=True, eq=False)
class Counts:
    """What a threshold gives in each case.

    ``objects``, ``hits`` and ``false`` are ``(cases,)``; ``class_objects``, ``class_hits`` and ``class_false`` are
    ``(cases, classes)``. ``class_false`` leaves out what found an unlabelled object.
    """

    objects: np.ndarray
    hits: np.ndarray
    false: np.ndarray
    class_objects: np.ndarray
    class_hits: np.ndarray
    class_false: np.ndarray

    def followed_by(self, other: Self) -> "Counts":
        """Both test sets' cases, one after the other."""
        return Counts(
            np.concatenate([self.objects, other.objects]),
            np.concatenate([self.hits, other.hits]),
            np.concatenate([self.false, other.false]),
            np.concatenate([self.class_objects, other.class_objects]),
            np.concatenate([self.class_hits, other.class_hits]),
            np.concatenate([self.class_false, other.class_false]),
        )


def detection_figures(counts: Counts, weights: np.ndarray) -> dict[str, np.ndarray]:
    """``f1 precision recall``, each ``(rounds,)``, where case ``c`` counts ``weights[r, c]`` times in round ``r``."""
    objects, hits, false = weights @ counts.objects, weights @ counts.hits, weights @ counts.false
    return {
        "f1": f1(hits, false, objects),
        "precision": ratio(hits, hits + false),
        "recall": ratio(hits, objects),
    }


def class_figures(counts: Counts, weights: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """``class_f1_<class>``, ``class_f1_weighted``, ``class_precision_<class>`` and ``class_recall_<class>``, each
    ``(rounds,)``."""
    objects, hits, false = weights @ counts.class_objects, weights @ counts.class_hits, weights @ counts.class_false
    each = f1(hits, false, objects)
    weighted = ratio((np.nan_to_num(each) * objects).sum(axis=1), objects.sum(axis=1))
    figures = {f"class_f1_{name}": each[:, index] for index, name in enumerate(classes)}
    precision, recall = ratio(hits, hits + false), ratio(hits, objects)
    return {
        **figures,
        "class_f1_weighted": weighted,
        **{f"class_precision_{name}": precision[:, index] for index, name in enumerate(classes)},
        **{f"class_recall_{name}": recall[:, index] for index, name in enumerate(classes)},
    }


def count_error(counts: Counts, weights: np.ndarray) -> np.ndarray:
    """Mean over cases of |detections - objects|, in objects a case, ``(rounds,)``."""
    error = np.abs(counts.hits + counts.false - counts.objects)
    return ratio(weights @ error, weights.sum(axis=1))


def f1(hits: np.ndarray, false: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """``2 TP / (2 TP + FP + FN)``; NaN where there is neither an object nor a detection."""
    return ratio(2 * hits, hits + false + objects)
