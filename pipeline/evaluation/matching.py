"""Which detection found which object: decided here and nowhere else.

The rule. A match rule allows pairs of detection and object (`pipeline.evaluation.pairs`); of these, detections are
taken from the highest score down, each with the nearest object (by overlap: the one with the largest) that no detection
has taken yet (`pipeline.evaluation.assignment`, which also knows an optimal way). A detection that finds none is
swallowed if it lies on an ignored object, else it is false. An ignored object swallows any number. Lower scores never
change which higher ones are hits, so one matching serves every threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.config.evaluation import BoxOverlap, MaskOverlap, MatchRule
from pipeline.errors import DatasetError
from pipeline.evaluation.assignment import NOTHING, greedy, optimal
from pipeline.evaluation.pairs import Pairs, finding_pairs, swallowing_pairs
from pipeline.evaluation.records import ScoredCase
from pipeline.geometry import Grid
from pipeline.volumes import UNLABELLED


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


def match_case(case: ScoredCase, rule: MatchRule) -> CaseMatches:
    """Match the detections of one case with its annotations.

    Both lie on the case's own grid. Centre distances are measured in the world, in the grid's unit unless the rule
    names one; box overlap along the array axes; mask overlap in voxels.

    Raises:
        DatasetError: annotations and detections lie on different grids; the rule needs sizes and the annotations are
            points; it needs masks and there are none; or its unit is not one of the grid.
    """
    check_rule(case, rule.kind)
    pairs = finding_pairs(case, rule).best_first(case)
    assign = optimal if rule.assignment == "optimal" else greedy
    return matched(case, assign(pairs, len(case.detections), len(case.annotations)), swallowing_pairs(case, rule))


def match_cases(cases: Sequence[ScoredCase], rule: MatchRule) -> list[CaseMatches]:
    """Match every case, in the order of case ids, so that the order they come in never matters.

    Raises:
        DatasetError: as `match_case`; there is no case, or two have the same id.
    """
    return [match_case(case, rule) for case in in_order(cases)]


def match_overlaps(
    cases: Sequence[ScoredCase], ious: Sequence[float], classes: tuple[str, ...] = (), masks: bool = False
) -> dict[float, list[CaseMatches]]:
    """`match_cases`, greedy and by overlap, at several IoUs for little more than one.

    With ``classes``, each class is matched apart, as COCO does: a detection finds objects of its own class only.
    Ignored objects of no evaluated class and `UNLABELLED` ones swallow detections of every class, other ignored ones
    those of their own.

    Args:
        cases: with masks if ``masks``.
        ious: each in 0 … 1.
        classes: the evaluated classes; empty for one class of everything.
        masks: overlap of masks instead of boxes.

    Raises:
        DatasetError: as `match_cases`.
    """
    matches: dict[float, list[CaseMatches]] = {iou: [] for iou in ious}
    rule = MaskOverlap(iou=min(ious)) if masks else BoxOverlap(iou=min(ious))
    for case in in_order(cases):
        check_rule(case, rule.kind)
        judged = _with_unlabelled_ignored(case) if classes else case
        pairs = finding_pairs(judged, rule).best_first(case)
        regions = swallowing_pairs(judged, rule)
        if classes:
            pairs, regions = _of_one_class(case, pairs), _of_one_class(case, regions, classes)
        for iou in ious:
            found = greedy(pairs.overlapping(iou), len(case.detections), len(case.annotations))
            matches[iou].append(matched(judged, found, regions.overlapping(iou)))
    return matches


def in_order(cases: Sequence[ScoredCase]) -> list[ScoredCase]:
    """By case id.

    Raises:
        DatasetError: there is no case, or two have the same id.
    """
    if not cases:
        raise DatasetError("an evaluation needs at least one case, got none: check the split and data.where")
    ordered = sorted(cases, key=lambda case: case.case_id)
    for one, other in pairwise(ordered):
        if one.case_id == other.case_id:
            raise DatasetError(f"case ids must differ, got {one.case_id} twice: a scan would count twice")
    return ordered


def matched(case: ScoredCase, found: np.ndarray, regions: Pairs | None) -> CaseMatches:
    """``found`` ``(n,)`` by detection; those that found nothing and lie on a region are swallowed."""
    swallowed = np.zeros(len(case.detections), dtype=bool)
    if regions is not None:
        swallowed[regions.detection] = True
    return CaseMatches(case, found, swallowed & (found == NOTHING))


def _with_unlabelled_ignored(case: ScoredCase) -> ScoredCase:
    unlabelled = np.array([label == UNLABELLED for label in case.annotations.labels], dtype=bool)
    if not unlabelled.any():
        return case
    annotations = replace(case.annotations, ignore=case.annotations.ignore | unlabelled)
    return replace(case, annotations=annotations)


def _of_one_class(case: ScoredCase, pairs: Pairs, but_for: tuple[str, ...] | None = None) -> Pairs:
    """Pairs with one class on both sides; annotations of no class in ``but_for`` go with every class."""
    there = np.array(case.annotations.labels, dtype=str)[pairs.annotation]
    found = np.array(case.detections.classes, dtype=str)[case.detections.labels[pairs.detection]]
    same = there == found
    return pairs[same if but_for is None else same | ~np.isin(there, list(but_for))]


def check_rule(case: ScoredCase, kind: str) -> None:
    """Whether a case has what a rule of this kind needs.

    Raises:
        DatasetError: as `match_case`.
    """
    here, there = case.annotations.boxes.grid, case.detections.boxes.grid
    if not _same(here, there):
        raise DatasetError(
            f"case {case.case_id}: annotations lie on a grid of {here.shape} {here.unit} and detections on one of "
            f"{there.shape} {there.unit}; both must be on the case's own grid"
        )
    if kind == "mask_overlap":
        _check_masks(case)
    elif case.annotations.from_points and len(case.annotations) and kind != "centre_distance":
        raise DatasetError(
            f"case {case.case_id}: match rule {kind} needs annotated sizes, and this case has centre points "
            "only; use evaluation.match.kind=centre_distance"
        )


def _check_masks(case: ScoredCase) -> None:
    for whose, masks, count in (
        ("annotations", case.annotation_masks, len(case.annotations)),
        ("detections", case.detection_masks, len(case.detections)),
    ):
        if masks is None and count == 0:
            continue
        if masks is None:
            raise DatasetError(
                f"case {case.case_id}: match rule mask_overlap needs masks, and the {whose} have none; "
                "use evaluation.match.kind=box_overlap"
            )
        if len(masks) != count or masks.shape != case.annotations.boxes.grid.shape:
            raise DatasetError(
                f"case {case.case_id}: {count} {whose} on a grid of {case.annotations.boxes.grid.shape} came with "
                f"{len(masks)} masks on {masks.shape}; there must be one each, on the case's own grid"
            )


def _same(one: Grid, other: Grid) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and one.unit == other.unit and np.allclose(one.affine, other.affine, atol=1e-6)
