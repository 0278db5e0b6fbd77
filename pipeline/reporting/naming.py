"""What figures are called for a reader."""

import math

from pipeline.config.evaluation import BoxOverlap, CentreDistance, CentreInLesion, MaskOverlap, MatchRule

_NAMES = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Sensitivity",
    "average_precision": "Average precision",
    "cpm": "CPM",
    "sensitivity_at_0_25_fp": "Sensitivity at ¼ false positive per scan",
    "sensitivity_at_1_fp": "Sensitivity at 1 false positive per scan",
    "class_f1_weighted": "F1 over classes, weighted",
    "count_error": "Count error per scan",
    "map_iou_0_50_0_95": "mAP at overlaps 0.50 … 0.95",
    "panoptic_quality": "Panoptic quality",
    "recognition_quality": "Recognition quality",
    "segmentation_quality": "Segmentation quality",
    "patient_auc": "ROC AUC of patients",
    "scan_auc": "ROC AUC of scans",
    "grade_auc": "ROC AUC of the objects' grade",
    "grade_auc_found": "ROC AUC of the grade, found objects",
    "grade_auc_by_size": "ROC AUC of the grade, by size alone",
    "grade_auc_gain": "ROC AUC of the grade, gain over size",
    "ece": "Calibration error of scores (ECE)",
}
_MEANINGS = {
    "f1": "harmonic mean of precision and sensitivity",
    "precision": "share of detections that are right",
    "recall": "share of annotated objects that are found",
    "average_precision": "area under precision over sensitivity",
    "cpm": "mean sensitivity at ⅛ … 8 false positives per scan",
    "class_f1_weighted": "right place and right class",
    "count_error": "mean difference between detected and annotated number",
    "map_iou_0_50_0_95": "mean over ten overlaps, as COCO has it",
    "panoptic_quality": "recognition quality × segmentation quality",
    "recognition_quality": "F1 of outlines that overlap by more than half",
    "segmentation_quality": "mean overlap of the outlines that were found",
    "patient_auc": "do patients with an object score higher than those without?",
    "scan_auc": "do scans with an object score higher than those without?",
    "grade_auc": "are positive objects graded higher than negative ones? An object that is not found is graded lowest",
    "grade_auc_found": "the same, of the objects that were found",
    "grade_auc_by_size": "the same, were the largest edge of the annotated object its grade",
    "grade_auc_gain": "what the network adds to size",
    "ece": "mean gap between score and share that is right; lower is better",
}

# In this order: a longer name comes before its own beginning.
_AT_OVERLAPS = {
    "ap_iou_": "AP",
    "jaccard_per_scan_": "TP / (TP + FP + FN), mean of scans,",
    "jaccard_": "TP / (TP + FP + FN)",
}
_LOWER_IS_BETTER = ("count_error", "ece")


def metric_name(metric: str) -> str:
    """``ap_iou_0_50`` → ``AP at box overlap 0.50``; a metric that is not known keeps its own name."""
    if metric in _NAMES:
        return _NAMES[metric]
    kind, at = ("mask", metric.removeprefix("mask_")) if metric.startswith("mask_") else ("box", metric)
    for prefix, what in _AT_OVERLAPS.items():
        if at.startswith(prefix):
            return f"{what} at {kind} overlap {at.removeprefix(prefix).replace('_', '.')}"
    for prefix, what in (("class_precision_", "Precision"), ("class_recall_", "Sensitivity")):
        if metric.startswith(prefix):
            return f"{what} of class {metric.removeprefix(prefix)}"
    if metric.startswith("class_f1_"):
        return f"F1 of class {metric.removeprefix('class_f1_')}"
    return metric


def axis_name(name: str) -> str:
    """One word for one thing: the tables say sensitivity."""
    return "sensitivity" if name == "recall" else name


def short_name(task: str, version: str) -> str:
    """``cells/3`` under the heading ``cells`` → ``version 3``; any other name as it is."""
    own = version.removeprefix(f"{task}/")
    return version if own == version else f"version {own}"


def metric_meaning(metric: str) -> str:
    if metric.removeprefix("mask_").startswith("jaccard_"):
        return "what StarDist and Cellpose report as AP"
    return _MEANINGS.get(metric, "")


def is_share(metric: str) -> bool:
    """Whether the metric lies between 0 and 1."""
    return metric not in ("count_error", "grade_auc_gain")


def higher_is_better(metric: str) -> bool:
    return metric not in _LOWER_IS_BETTER


def rule_text(rule: MatchRule, unit: str) -> str:
    """The match rule as a sentence."""
    if isinstance(rule, CentreDistance):
        reach = f"{rule.distance:g} {rule.unit or unit}"
        return f"A detection counts as right when its centre lies within {reach} of an object's centre."
    if isinstance(rule, CentreInLesion):
        return "A detection counts as right when its centre lies within the radius of a lesion (half its longest edge)."
    if isinstance(rule, BoxOverlap):
        return f"A detection counts as right when its box overlaps an object's box by at least {rule.iou:g} (IoU)."
    if isinstance(rule, MaskOverlap):
        return f"A detection counts as right when its outline overlaps an object's by at least {rule.iou:g} (IoU)."
    raise ValueError(f"no words for match rule {rule!r}")


def number(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    return number(value) if value < 0 or value != value else f"+{number(value)}"


def counted(number_of: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"


def variable_name(variable: str) -> str:
    """``manufacturer_model_name`` → ``manufacturer model name``."""
    return variable.replace("_", " ")


def interval(lower: float, upper: float, digits: int = 3) -> str:
    """``[0.712, 0.803]``; empty where there is none (a single patient has none)."""
    if math.isnan(lower) or math.isnan(upper):
        return ""
    return f"[{number(lower, digits)}, {number(upper, digits)}]"
