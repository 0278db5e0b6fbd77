"""Detections against annotations: matched once, measured many times, with intervals by patient.

The way: `matching` decides for each scan which detection found which object; `tables` writes that down, one row a
case and one row an object; `ranking` and `counts` read the tables; `froc`, `average_precision` and `centre_f1`
turn them into figures; `uncertainty` repeats that on resampled patients; `strata` does the same for parts of the test
set; `significance` and `power` say what a difference means; `evaluate` and `compare` are the entries.

What was decided, and holds for every figure:

- A detection finds at most one object and an object is found at most once. Of two detections on one object the
  higher score finds it and the other is false (LUNA16's own script forgives the second).
- Equal scores: a threshold takes all detections of one score or none, so the order of cases or rows never matters.
  Within a scan, the nearest pair of the equal ones is matched first.
- Whether an object was found does not depend on its class. Class figures ask for both: located, and named right.
- A detection that finds no counted object but lies on an ignored one is swallowed: it is neither right nor false.
  By overlap it lies there when enough of the detection is inside (IoA, as COCO's crowds).
- Optimal assignment is optional: it finds as many objects as can be found at every threshold at once.
- An `UNLABELLED` object counts for detection only. The detection that finds it is neither right nor false for a class.
- An object of a class that the version does not know counts for detection, and makes the class given to it false.
- A detection of a class that is not evaluated counts for detection, and leaves its object unfound for its class.
- Scans without an object count in every "per scan" denominator.
- A figure that does not exist is NaN: recall without an object, precision without a detection, F1 without either.
- Box overlap is not computed against objects that are only points: ``ap_iou_… map_iou_… jaccard_…`` are then left
  out. Masks are judged (``mask_ap_iou_… mask_jaccard_… panoptic_quality``) where every case has them.
- ``map_iou_0_50_0_95`` is COCO's: with several classes each is matched apart. All other figures match once.
- A test set in which every scan (patient) has an object, or none has, has no ``scan_auc`` (``patient_auc``).
- A grade is judged of objects of known grade; one that no detection found scores below all. What their size alone would
  give is beside it (`pipeline.evaluation.grades`).
- Nothing is capped: any number of objects and detections counts.
"""

from pipeline.evaluation.compare import compare, paired_cases
from pipeline.evaluation.evaluate import choose_threshold, evaluate, primary_value
from pipeline.evaluation.matching import CaseMatches, match_case
from pipeline.evaluation.records import Comparison, Curve, Estimate, Evaluation, ScoredCase, StratumDifference

__all__ = [
    "CaseMatches",
    "Comparison",
    "Curve",
    "Estimate",
    "Evaluation",
    "ScoredCase",
    "StratumDifference",
    "choose_threshold",
    "compare",
    "evaluate",
    "match_case",
    "paired_cases",
    "primary_value",
]
