"""The matches beside the match rule's own: by overlap of boxes and of masks, at the IoUs that figures ask for."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.config.evaluation import EvaluationConfig
from pipeline.evaluation.figures import PANOPTIC, PANOPTIC_OVERLAP
from pipeline.evaluation.matching import CaseMatches, match_overlaps
from pipeline.evaluation.panoptic import match_panoptic
from pipeline.evaluation.records import ScoredCase
from pipeline.evaluation.tables import objects_table

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def objects_with_overlaps(
    matches: Sequence[CaseMatches], config: EvaluationConfig, classes: tuple[str, ...]
) -> pd.DataFrame:
    """The objects table (see `pipeline.evaluation.tables`) with an outcome for every overlap that can be judged.

    Boxes are judged where no case has centre points only, and masks where every case has them: a figure over some of
    the cases would be another test set's. With masks, ``panoptic_overlap`` is the IoU of the mask that was found.
    """
    cases = [match.case for match in matches]
    others = {**_boxes(cases, config, classes), **_masks(cases, config)}
    if not _have_masks(cases):
        return objects_table(matches, others)
    panoptic, overlaps = match_panoptic(cases)
    table = objects_table(matches, {**others, PANOPTIC: panoptic})
    missed = [np.full(len(match.missed), np.nan) for match in matches]
    return table.assign(
        **{PANOPTIC_OVERLAP: np.concatenate([part for pair in zip(overlaps, missed, strict=True) for part in pair])}
    )


def overlap_name(iou: float, kind: str = "ap_iou") -> str:
    """The name of AP at an IoU: ``ap_iou_0_50``."""
    return f"{kind}_{iou:.2f}".replace(".", "_")


def _boxes(
    cases: Sequence[ScoredCase], config: EvaluationConfig, classes: tuple[str, ...]
) -> dict[str, Sequence[CaseMatches]]:
    if any(case.annotations.from_points for case in cases):
        return {}
    apart = classes if len(classes) > 1 else ()
    agnostic = match_overlaps(cases, sorted({*config.overlap_ious, *(() if apart else COCO_IOUS)}))
    single = {overlap_name(iou): agnostic[iou] for iou in config.overlap_ious}
    by_class = match_overlaps(cases, COCO_IOUS, apart) if apart else agnostic
    kind = "class_map_iou" if apart else "map_iou"
    return {**single, **{overlap_name(iou, kind): by_class[iou] for iou in COCO_IOUS}}


def _masks(cases: Sequence[ScoredCase], config: EvaluationConfig) -> dict[str, Sequence[CaseMatches]]:
    if not _have_masks(cases):
        return {}
    matches = match_overlaps(cases, config.overlap_ious, masks=True)
    return {overlap_name(iou, "mask_ap_iou"): matches[iou] for iou in config.overlap_ious}


def _have_masks(cases: Sequence[ScoredCase]) -> bool:
    """Whether every object and every detection has a mask, and there is any."""
    there = any(case.annotation_masks is not None for case in cases)
    return there and all(
        (case.annotation_masks is not None or len(case.annotations) == 0)
        and (case.detection_masks is not None or len(case.detections) == 0)
        for case in cases
    )
