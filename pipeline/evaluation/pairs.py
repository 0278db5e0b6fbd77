"""Pairs of detection and annotation that a match rule allows.

Edges belong to the rule: a centre at exactly the distance, or an overlap of exactly the IoU, is allowed (to one part in
10⁹, so that rounding in an affine does not decide).

An ignored annotation is a region (COCO's crowd): it takes any number of detections. By overlap, one lies on it when the
share of the DETECTION inside the region (intersection over the detection's own area, IoA) reaches the rule's IoU. By
centre distance, when the rule allows the pair or the detection's centre lies in the annotated box. By LUNA16's rule,
when the rule allows the pair (its "irrelevant findings").
"""

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from pipeline.config.evaluation import BoxOverlap, CentreDistance, CentreInLesion, MatchRule
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes

if TYPE_CHECKING:
    from pipeline.evaluation.masks import Masks
    from pipeline.evaluation.records import ScoredCase

TOLERANCE = 1e-9
_MM = {"mm": 1.0, "um": 0.001}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs ``(p,)`` of detection and annotation; ``cost`` is lower for the better pair (overlaps are negative)."""

    detection: np.ndarray
    annotation: np.ndarray
    cost: np.ndarray

    def __getitem__(self, index: np.ndarray) -> "Pairs":
        return Pairs(self.detection[index], self.annotation[index], self.cost[index])

    @classmethod
    def none(cls) -> "Pairs":
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))

    def overlapping(self, least: float) -> "Pairs":
        """Those whose overlap is at least ``least``."""
        return self[self.cost <= -least * (1 - TOLERANCE)]

    def best_first(self, case: "ScoredCase") -> "Pairs":
        """By descending score, then cost; where both are equal the detection's place decides, and last the order of
        the annotations, so that the order of the detections never matters."""
        place = case.detections.boxes.centres[self.detection].T
        label = case.detections.labels[self.detection]
        return self[np.lexsort((self.annotation, label, *place, self.cost, -case.detections.scores[self.detection]))]

    def with_annotations(self, index: np.ndarray) -> "Pairs":
        """The same pairs where annotations were counted among ``index`` only."""
        return Pairs(self.detection, index[self.annotation], self.cost)


def finding_pairs(case: "ScoredCase", rule: MatchRule) -> Pairs:
    """Detections and counted annotations that the rule allows to match."""
    counted = np.flatnonzero(~case.annotations.ignore)
    if len(counted) == 0 or len(case.detections) == 0:
        return Pairs.none()
    detections, annotations = case.detections.boxes, case.annotations.boxes[counted]
    if isinstance(rule, CentreDistance | CentreInLesion):
        return _within(*_centres(case, detections, annotations, rule)).with_annotations(counted)
    if isinstance(rule, BoxOverlap):
        return box_pairs(detections, annotations, rule.iou).with_annotations(counted)
    return mask_pairs(case, rule.iou)


def swallowing_pairs(case: "ScoredCase", rule: MatchRule) -> Pairs:
    """Detections and the ignored annotations that they lie on; by overlap the cost is minus the IoA."""
    ignored = np.flatnonzero(case.annotations.ignore)
    if len(ignored) == 0 or len(case.detections) == 0:
        return Pairs.none()
    detections, regions = case.detections.boxes, case.annotations.boxes[ignored]
    if isinstance(rule, BoxOverlap):
        return box_pairs_in_regions(detections, regions, rule.iou).with_annotations(ignored)
    if isinstance(rule, CentreDistance | CentreInLesion):
        near = _within(*_centres(case, detections, regions, rule))
        if isinstance(rule, CentreDistance) and not case.annotations.from_points:
            near = _joined(near, _centre_inside(detections, regions))
        return near.with_annotations(ignored)
    return mask_pairs_in_regions(case, rule.iou)


def box_pairs(detections: Boxes, annotations: Boxes, iou: float) -> Pairs:
    """Pairs of boxes with at least this overlap.

    An overlap of ``t`` bounds the edges: along each axis they share at least ``t`` times the longer one. So with an
    object's edge ``s`` the detection's lies in ``t·s … s/t`` and the centres are at most ``s·max(1-t, (1/t-1)/2)``
    apart. That leaves few pairs to compute.
    """
    reach = annotations.sizes.max(axis=1, initial=0) * max(1 - iou, (1 / iou - 1) / 2)
    near = _neighbours(detections.centres, annotations.centres, reach, norm=np.inf)
    shared, area, other = _areas(detections, annotations, *near)
    return Pairs(*near, -_share(shared, area + other - shared)).overlapping(iou)


def box_pairs_in_regions(detections: Boxes, regions: Boxes, ioa: float) -> Pairs:
    """Pairs of a detection and a region in which at least this share of the detection lies.

    Along each axis at least the share ``t`` of the detection's edge ``s`` is inside, so the centres are at most half of
    the region's edge plus ``s·(1/2 - t)`` apart.
    """
    largest = detections.sizes.max(initial=0)
    reach = regions.sizes.max(axis=1, initial=0) / 2 + largest * max(0.5 - ioa, 0.0)
    near = _neighbours(detections.centres, regions.centres, reach, norm=np.inf)
    shared, area, _ = _areas(detections, regions, *near)
    return Pairs(*near, -_share(shared, area)).overlapping(ioa)


def mask_pairs(case: "ScoredCase", iou: float) -> Pairs:
    """Detections and counted annotations whose masks have at least this overlap."""
    found, there = _masks(case)
    detection, annotation, shared = found.shared(there)
    overlap = _share(shared, found.sizes[detection] + there.sizes[annotation] - shared)
    return Pairs(detection, annotation, -overlap)[~case.annotations.ignore[annotation]].overlapping(iou)


def mask_pairs_in_regions(case: "ScoredCase", ioa: float) -> Pairs:
    """Detections and ignored annotations in whose mask at least this share of the detection's lies."""
    found, there = _masks(case)
    detection, annotation, shared = found.shared(there)
    pairs = Pairs(detection, annotation, -_share(shared, found.sizes[detection]))
    return pairs[case.annotations.ignore[annotation]].overlapping(ioa)


def _masks(case: "ScoredCase") -> tuple["Masks", "Masks"]:
    found, there = case.detection_masks, case.annotation_masks
    assert found is not None
    assert there is not None
    return found, there


def _centres(
    case: "ScoredCase", detections: Boxes, annotations: Boxes, rule: CentreDistance | CentreInLesion
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both centres and how far each annotation reaches, in the unit of the rule."""
    if isinstance(rule, CentreInLesion):
        return detections.centres_world, annotations.centres_world, annotations.sizes_world.max(axis=1) / 2
    grid, reach = annotations.grid, np.full(len(annotations), rule.distance)
    if rule.unit == "px":
        if grid.dims != 2:
            raise DatasetError(f"case {case.case_id}: a distance in px needs a 2D image, and this is 3D; use mm")
        return detections.centres, annotations.centres, reach
    if rule.unit is not None:
        if grid.unit != "mm":
            raise DatasetError(
                f"case {case.case_id}: a distance in {rule.unit} needs an image with a physical size, and this one "
                "states none; use evaluation.match.unit=px"
            )
        reach = reach * _MM[rule.unit]
    return detections.centres_world, annotations.centres_world, reach


def _within(detections: np.ndarray, annotations: np.ndarray, reach: np.ndarray) -> Pairs:
    detection, annotation = _neighbours(detections, annotations, reach, norm=2)
    return Pairs(detection, annotation, np.linalg.norm(detections[detection] - annotations[annotation], axis=1))


def _centre_inside(detections: Boxes, regions: Boxes) -> Pairs:
    reach = regions.sizes.max(axis=1, initial=0) / 2
    detection, region = _neighbours(detections.centres, regions.centres, reach, norm=np.inf)
    centre = detections.centres[detection]
    inside = ((centre >= regions.lower[region]) & (centre <= regions.upper[region])).all(axis=1)
    return Pairs(detection[inside], region[inside], np.zeros(int(inside.sum())))


def _joined(one: Pairs, other: Pairs) -> Pairs:
    return Pairs(
        np.concatenate([one.detection, other.detection]),
        np.concatenate([one.annotation, other.annotation]),
        np.concatenate([one.cost, other.cost]),
    )


def _areas(
    detections: Boxes, annotations: Boxes, detection: np.ndarray, annotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each pair shares, and the area (volume) of each one of the two."""
    lower = np.maximum(detections.lower[detection], annotations.lower[annotation])
    upper = np.minimum(detections.upper[detection], annotations.upper[annotation])
    shared = np.clip(upper - lower, 0, None).prod(axis=1)
    return shared, detections.sizes.prod(axis=1)[detection], annotations.sizes.prod(axis=1)[annotation]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _neighbours(
    detections: np.ndarray, annotations: np.ndarray, reach: np.ndarray, norm: float
) -> tuple[np.ndarray, np.ndarray]:
    slack = reach * (1 + TOLERANCE) + TOLERANCE
    tree = KDTree(detections, balanced_tree=False, compact_nodes=False)  # quicker to make, and used once
    near = tree.query_ball_point(annotations, slack, p=norm)
    times = np.fromiter(map(len, near), dtype=np.int64, count=len(near))
    detection = np.fromiter(chain.from_iterable(near), dtype=np.int64, count=int(times.sum()))
    return detection, np.repeat(np.arange(len(annotations)), times)
