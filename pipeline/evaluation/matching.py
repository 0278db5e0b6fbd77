"""Which detection found which object: decided here and nowhere else.

The rule. Detections are taken from the highest score down. Each takes the nearest object (by box overlap: the one
with the largest overlap) that the match rule allows and that no detection has taken yet. One that finds none is
swallowed if the rule allows it an ignored object, else it is false. An ignored object swallows any number.
Because lower scores never change what higher ones found, one matching serves every threshold.

Edges belong to the rule: a centre at exactly the distance, or an overlap of exactly the IoU, is a match
(to one part in 10⁹, so that rounding in an affine does not decide).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import KDTree

from pipeline.config.evaluation import BoxOverlap, CentreDistance, MatchRule
from pipeline.errors import DatasetError
from pipeline.evaluation.records import ScoredCase
from pipeline.geometry import Boxes, Grid

_TOLERANCE = 1e-9
NOTHING = -1


@dataclass(frozen=True, eq=False)
class CaseMatches:
    """The matches of one case under one rule.

    ``found`` is ``(n,)``: the index of the annotation that each detection found, `NOTHING` (-1) where none.
    ``swallowed`` is bool ``(n,)``: detections on an ignored object.
    """

    case: ScoredCase
    found: np.ndarray
    swallowed: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """Detections that found an object, bool ``(n,)``."""
        return self.found != NOTHING

    @property
    def false(self) -> np.ndarray:
        """Detections that are false, bool ``(n,)``."""
        return ~self.hit & ~self.swallowed

    @property
    def missed(self) -> np.ndarray:
        """Indices of counted annotations that no detection found, whatever its score."""
        left = ~self.case.annotations.ignore
        left[self.found[self.hit]] = False
        return np.flatnonzero(left)

    @property
    def objects(self) -> int:
        """How many annotations count (those not ignored)."""
        return int((~self.case.annotations.ignore).sum())


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs ``(p,)`` of detection and annotation that the rule allows; ``cost`` is lower for the better pair."""

    detection: np.ndarray
    annotation: np.ndarray
    cost: np.ndarray

    def __getitem__(self, index: np.ndarray) -> "_Pairs":
        return _Pairs(self.detection[index], self.annotation[index], self.cost[index])


def match_case(case: ScoredCase, rule: MatchRule) -> CaseMatches:
    """Match the detections of one case with its annotations.

    Both lie on the case's own grid. Centre distances are measured in the world, in the grid's unit; box overlap
    along the array axes.

    Raises:
        DatasetError: annotations and detections lie on different grids, or the rule needs sizes and the
            annotations are points.
    """
    _check(case, rule)
    pairs = _allowed_pairs(case, rule)
    ignored = case.annotations.ignore[pairs.annotation]
    found = _greedy(case, pairs[~ignored])
    swallowed = np.zeros(len(case.detections), dtype=bool)
    swallowed[pairs.detection[ignored]] = True
    return CaseMatches(case, found, swallowed & (found == NOTHING))


def match_cases(cases: Sequence[ScoredCase], rule: MatchRule) -> list[CaseMatches]:
    """Match every case, in the order of case ids, so that the order they come in never matters.

    Raises:
        DatasetError: there is no case, or two have the same id.
    """
    if not cases:
        raise DatasetError("an evaluation needs at least one case, got none: check the split and data.where")
    ordered = sorted(cases, key=lambda case: case.case_id)
    for one, other in pairwise(ordered):
        if one.case_id == other.case_id:
            raise DatasetError(f"case ids must differ, got {one.case_id} twice: a scan would count twice")
    return [match_case(case, rule) for case in ordered]


def _check(case: ScoredCase, rule: MatchRule) -> None:
    here, there = case.annotations.boxes.grid, case.detections.boxes.grid
    if not _same(here, there):
        raise DatasetError(
            f"case {case.case_id}: annotations lie on a grid of {here.shape} {here.unit} and detections on one of "
            f"{there.shape} {there.unit}; both must be on the case's own grid"
        )
    if case.annotations.from_points and len(case.annotations) and not isinstance(rule, CentreDistance):
        raise DatasetError(
            f"case {case.case_id}: match rule {rule.kind} needs annotated sizes, and this case has centre points "
            "only; use evaluation.match.kind=centre_distance"
        )


def _same(one: Grid, other: Grid) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and one.unit == other.unit and np.allclose(one.affine, other.affine, atol=1e-6)


def _allowed_pairs(case: ScoredCase, rule: MatchRule) -> _Pairs:
    detections, annotations = case.detections.boxes, case.annotations.boxes
    if len(detections) == 0 or len(annotations) == 0:
        none = np.zeros(0, dtype=np.int64)
        return _Pairs(none, none, np.zeros(0))
    if isinstance(rule, BoxOverlap):
        return _overlapping(detections, annotations, rule.iou)
    if isinstance(rule, CentreDistance):
        reach = np.full(len(annotations), rule.distance)
    else:
        reach = annotations.sizes_world.max(axis=1) / 2
    return _within(detections.centres_world, annotations.centres_world, reach)


def _within(detections: np.ndarray, annotations: np.ndarray, reach: np.ndarray) -> _Pairs:
    detection, annotation = _neighbours(detections, annotations, reach, norm=2)
    distance = np.linalg.norm(detections[detection] - annotations[annotation], axis=1)
    return _Pairs(detection, annotation, distance)


def _overlapping(detections: Boxes, annotations: Boxes, iou: float) -> _Pairs:
    """Pairs of boxes with at least this overlap.

    An overlap of ``t`` bounds the edges: along each axis they share at least ``t`` times the longer one. So with an
    object's edge ``s`` the detection's lies in ``t·s … s/t`` and the centres are at most ``s·max(1-t, (1/t-1)/2)``
    apart. That leaves few pairs to compute.
    """
    reach = annotations.sizes.max(axis=1) * max(1 - iou, (1 / iou - 1) / 2)
    detection, annotation = _neighbours(detections.centres, annotations.centres, reach, norm=np.inf)
    lower = np.maximum(detections.lower[detection], annotations.lower[annotation])
    upper = np.minimum(detections.upper[detection], annotations.upper[annotation])
    shared = np.clip(upper - lower, 0, None).prod(axis=1)
    total = detections.sizes.prod(axis=1)[detection] + annotations.sizes.prod(axis=1)[annotation] - shared
    overlap = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    keep = overlap >= iou * (1 - _TOLERANCE)
    return _Pairs(detection, annotation, -overlap)[keep]


def _neighbours(
    detections: np.ndarray, annotations: np.ndarray, reach: np.ndarray, norm: float
) -> tuple[np.ndarray, np.ndarray]:
    slack = reach * (1 + _TOLERANCE) + _TOLERANCE
    near = KDTree(detections).query_ball_point(annotations, slack, p=norm)
    annotation = np.repeat(np.arange(len(annotations)), [len(some) for some in near])
    detection = np.array([index for some in near for index in some], dtype=np.int64)
    return detection, annotation


def _greedy(case: ScoredCase, pairs: _Pairs) -> np.ndarray:
    """The annotation index found by each detection, ``(n,)``: highest score first, then the nearest pair.

    Where score and cost are equal the detection's place decides, and last the order of the annotations, so that
    the order of the detections never matters.
    """
    place = case.detections.boxes.centres[pairs.detection].T
    label = case.detections.labels[pairs.detection]
    order = np.lexsort((pairs.annotation, label, *place, pairs.cost, -case.detections.scores[pairs.detection]))
    found = [NOTHING] * len(case.detections)
    taken = [False] * len(case.annotations)
    for detection, annotation in zip(pairs.detection[order].tolist(), pairs.annotation[order].tolist(), strict=True):
        if found[detection] == NOTHING and not taken[annotation]:
            found[detection] = annotation
            taken[annotation] = True
    return np.array(found, dtype=np.int64)
