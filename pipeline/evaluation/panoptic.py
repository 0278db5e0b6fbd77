"""Panoptic quality of masks, and the Jaccard index of objects.

Panoptic quality (Kirillov et al., CVPR 2019): a detection at or above the threshold finds an object if their masks'
IoU is GREATER than 0.5, which no other non-overlapping mask can then reach. Recognition quality is TP / (TP + FP/2 +
FN/2), segmentation quality the mean IoU of the TP, and panoptic quality their product. Kirillov takes the mean over
classes; this is one class, "was it found?", over all scans together.

The Jaccard index TP / (TP + FP + FN) at an IoU is what StarDist and Cellpose report as "AP" (StarDist's own name is
accuracy); no score ranks anything in it, and it is no average precision. The sums are over all scans together, as in
StarDist's ``matching_dataset`` (``by_image=False``); Cellpose takes the mean over images. Detections choose by score
here, and StarDist pairs as many as can be paired: of 290 crowded random sets, 1 differed at an IoU of 0.5 and 4 at
0.25.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.evaluation.assignment import NOTHING, greedy
from pipeline.evaluation.matching import CaseMatches, check_rule, in_order, matched
from pipeline.evaluation.pairs import mask_pairs, mask_pairs_in_regions
from pipeline.evaluation.ranking import ratio
from pipeline.evaluation.records import ScoredCase

PANOPTIC_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Agreement:
    """What a threshold gives in each case, ``(cases,)``; ``overlap`` is the sum of the hits' IoU."""

    objects: np.ndarray
    hits: np.ndarray
    false: np.ndarray
    overlap: np.ndarray

    @classmethod
    def of(cls, objects: np.ndarray, hit: np.ndarray, false: np.ndarray, overlap: np.ndarray | None = None) -> Self:
        """``hit`` and ``false`` name the case of each such detection; ``overlap`` is the IoU of each hit."""
        cases = len(objects)
        summed = np.bincount(hit, overlap, minlength=cases)
        return cls(objects, np.bincount(hit, minlength=cases), np.bincount(false, minlength=cases), summed)

    def pooled_with(self, other: Self) -> "Agreement":
        return Agreement(
            np.concatenate([self.objects, other.objects]),
            np.concatenate([self.hits, other.hits]),
            np.concatenate([self.false, other.false]),
            np.concatenate([self.overlap, other.overlap]),
        )

    def jaccard(self, weights: np.ndarray) -> np.ndarray:
        """TP / (TP + FP + FN), ``(rounds,)``; NaN where there is neither an object nor a detection."""
        return ratio(weights @ self.hits, weights @ (self.false + self.objects))

    def jaccard_per_scan(self, weights: np.ndarray) -> np.ndarray:
        """The mean of each scan's TP / (TP + FP + FN), ``(rounds,)``, over scans with an object or a detection."""
        either = self.false + self.objects
        return ratio(weights @ np.nan_to_num(ratio(self.hits, either)), weights @ (either > 0))

    def panoptic(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """``panoptic_quality recognition_quality segmentation_quality``, each ``(rounds,)``.

        Without a hit segmentation quality does not exist; the other two are 0 if there is an object or a detection.
        """
        hits, overlap = weights @ self.hits, weights @ self.overlap
        either = (hits + weights @ (self.false + self.objects)) / 2  # TP + FP/2 + FN/2
        return {
            "panoptic_quality": ratio(overlap, either),
            "recognition_quality": ratio(hits, either),
            "segmentation_quality": ratio(overlap, hits),
        }


def match_panoptic(cases: Sequence[ScoredCase]) -> tuple[list[CaseMatches], list[np.ndarray]]:
    """Matches of masks with an IoU above 0.5, in the order of case ids, and each detection's IoU ``(n,)``: NaN where
    it found nothing. Where masks overlap each other, the higher score comes first.

    Raises:
        DatasetError: as `pipeline.evaluation.matching.match_cases`.
    """
    matches, overlaps = [], []
    for case in in_order(cases):
        check_rule(case, "mask_overlap")
        overlap = np.full(len(case.detections), np.nan)
        if len(case.detections) == 0 or len(case.annotations) == 0:
            matches.append(matched(case, np.full(len(case.detections), NOTHING), None))
        else:
            pairs = mask_pairs(case, PANOPTIC_IOU)
            pairs = pairs[pairs.cost < -PANOPTIC_IOU].best_first(case)
            found = greedy(pairs, len(case.detections), len(case.annotations))
            taken = found[pairs.detection] == pairs.annotation
            overlap[pairs.detection[taken]] = -pairs.cost[taken]
            matches.append(matched(case, found, mask_pairs_in_regions(case, PANOPTIC_IOU)))
        overlaps.append(overlap)
    return matches, overlaps
