"""What was detected on a case, beside what is there."""

import numpy as np

from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detections.outlines import label_map
from pipeline.evaluation.masks import Masks
from pipeline.evaluation.records import ScoredCase


def scored_case(case: Case, detections: Detections) -> ScoredCase:
    """The case's annotations and its detections; with masks where both have outlines.

    A pixel that several detections hold counts for the one with the highest score, as in an exported label map.
    """
    attributes = {"modality": case.volume.modality, **case.volume.attributes}
    scored = ScoredCase(case.case_id, case.patient_key, case.annotations, detections, attributes)
    if detections.outlines is None or case.instances is None:
        return scored
    there = Masks.of_label_map(case.instances.whole, np.arange(len(case.annotations)) + 1)
    found = Masks.of_label_map(label_map(detections), np.arange(len(detections)) + 1)
    return ScoredCase(case.case_id, case.patient_key, case.annotations, detections, attributes, there, found)
