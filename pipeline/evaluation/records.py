"""What evaluation takes and gives: cases in, one evaluation or comparison out, each saved as a folder."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.detections import Detections
from pipeline.evaluation.masks import Masks
from pipeline.volumes import Annotations

_FIGURE_COLUMNS = ["variable", "level", "metric", "value", "lower", "upper", "patients", "objects"]
_DIFFERENCE_COLUMNS = [
    *("variable", "level", "metric", "value_a", "value_b", "value", "lower", "upper"),
    *("p", "p_adjusted", "patients", "objects", "detectable"),
]


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One scan (or window of a scan) with what is there and what was detected, both on the case's own grid.

    Masks are there where both the annotations and the detector give outlines: one mask an annotation and one a
    detection, in the order of ``annotations`` and ``detections`` (highest score first).
    """

    case_id: str
    patient_key: str
    annotations: Annotations
    detections: Detections
    attributes: dict[str, str] = field(default_factory=dict)
    annotation_masks: Masks | None = None
    detection_masks: Masks | None = None


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval.

    All three are NaN where the figure does not exist; ``lower`` and ``upper`` alone where there are too few patients
    for an interval (`pipeline.evaluation.uncertainty`).
    """

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        if math.isnan(self.lower):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


@dataclass(frozen=True)
class Curve:
    """A line to draw: FROC, precision-recall."""

    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of one model version on one test set.

    ``metrics`` use the same names everywhere: ``f1 precision recall average_precision cpm sensitivity_at_0_25_fp
    sensitivity_at_1_fp ap_iou_0_50 map_iou_0_50_0_95 jaccard_0_50 class_f1_<class> class_f1_weighted
    class_precision_<class> class_recall_<class> count_error scan_auc patient_auc ece``, and with masks
    ``mask_ap_iou_0_50 mask_jaccard_0_50 mask_jaccard_per_scan_0_50 panoptic_quality recognition_quality
    segmentation_quality``, and with grades ``grade_auc grade_auc_found grade_auc_by_size grade_auc_gain``.
    ``threshold`` is the score at which f1, precision, recall, the Jaccard index, panoptic quality and the class figures
    hold; it was chosen on validation data.
    ``curves``: ``froc precision_recall calibration roc_scan``, with grades ``roc_grade``. ``cases`` has one row a case;
    ``objects`` one row a detection or missed annotation, enough to recompute every figure.
    ``test_set`` is the digest of case ids and annotations: only evaluations with the same one compare.

    ``strata`` holds the figures of parts of the test set: variable (``size``, ``class``, ``modality`` …) → level →
    metric (see `pipeline.evaluation.strata`). ``strata_counts`` says how much each part holds: ``patients
    patients_with_objects cases objects hits false_positives``. ``size_limits`` are the borders between size levels, in
    ``size_unit`` (``mm`` or ``px``). An evaluation that was saved before there were strata has none.

    ``confusion`` counts objects at ``threshold``: rows are the annotated class and ``no object``, columns the class of
    the detection that found it and ``not found`` (see `pipeline.evaluation.confusion`). `None` where one class is
    evaluated, and in an evaluation that was saved before there was one.
    """

    version: str
    test_set: str
    primary: str
    threshold: float
    counts: dict[str, int]
    metrics: dict[str, Estimate]
    curves: dict[str, Curve]
    cases: pd.DataFrame
    objects: pd.DataFrame
    match_rule: dict[str, object]
    confidence: float
    strata: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    strata_counts: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    size_limits: tuple[float, ...] = ()
    size_unit: str = ""
    confusion: pd.DataFrame | None = None

    def save(self, folder: Path) -> None:
        """Write ``evaluation.json``, ``cases.parquet`` and ``objects.parquet``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.cases.to_parquet(folder / "cases.parquet", index=False)
        self.objects.to_parquet(folder / "objects.parquet", index=False)
        (folder / "evaluation.json").write_text(json.dumps(self.summary(), indent=1), encoding="utf-8")

    def summary(self) -> dict[str, object]:
        """Everything but the tables, ready for JSON."""
        return {
            "version": self.version,
            "test_set": self.test_set,
            "primary": self.primary,
            "threshold": self.threshold,
            "counts": self.counts,
            "match_rule": self.match_rule,
            "confidence": self.confidence,
            "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
            "curves": {name: asdict(curve) for name, curve in self.curves.items()},
            "strata": _each_level(self.strata, lambda figures: {name: asdict(one) for name, one in figures.items()}),
            "strata_counts": self.strata_counts,
            "size_limits": list(self.size_limits),
            "size_unit": self.size_unit,
            "confusion": None if self.confusion is None else self.confusion.to_dict("split"),
        }

    def strata_rows(self) -> pd.DataFrame:
        """``strata`` as a table, one row a figure: ``variable level metric value lower upper patients objects``."""
        rows = [
            {
                "variable": variable,
                "level": level,
                "metric": metric,
                **asdict(estimate),
                **{name: self.strata_counts[variable][level][name] for name in ("patients", "objects")},
            }
            for variable, levels in self.strata.items()
            for level, figures in levels.items()
            for metric, estimate in figures.items()
        ]
        return pd.DataFrame(rows, columns=_FIGURE_COLUMNS)

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        raw = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        raw["metrics"] = {name: Estimate(**estimate) for name, estimate in raw["metrics"].items()}
        raw["curves"] = {
            name: Curve(curve["x_name"], curve["y_name"], tuple(curve["x"]), tuple(curve["y"]))
            for name, curve in raw["curves"].items()
        }
        raw["strata"] = _each_level(
            raw.get("strata", {}), lambda figures: {name: Estimate(**one) for name, one in figures.items()}
        )
        raw["size_limits"] = tuple(raw.get("size_limits", ()))
        raw["confusion"] = pd.DataFrame(**raw["confusion"]) if raw.get("confusion") else None
        return cls(
            **raw,
            cases=pd.read_parquet(folder / "cases.parquet"),
            objects=pd.read_parquet(folder / "objects.parquet"),
        )


@dataclass(frozen=True)
class StratumDifference:
    """``metric`` of version B less that of version A in one stratum, paired by patient.

    ``p`` is the stratum's own; ``p_adjusted`` is corrected for all strata of the comparison (Holm). ``detectable`` is
    the smallest true difference that would be seen here with 80 % power in spite of that correction. ``patients`` are
    those that bear on the figure (with an object in the stratum, for all but precision and the count error).
    """

    metric: str
    value_a: float
    value_b: float
    difference: Estimate
    p: float
    p_adjusted: float
    patients: int
    objects: int
    detectable: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Version B against version A on the same cases: differences are B − A, paired by patient.

    ``detectable`` is the smallest true difference of a figure that this test set shows with 80 % power (see
    `pipeline.evaluation.power`); NaN where that is not known. ``strata``: variable → level → the difference of the
    primary metric, with p values for one and for all strata.
    """

    version_a: str
    version_b: str
    test_set: str
    primary: str
    differences: dict[str, Estimate]
    p_values: dict[str, float]
    values_a: dict[str, float]
    values_b: dict[str, float]
    patients: int
    detectable: dict[str, float] = field(default_factory=dict)
    strata: dict[str, dict[str, StratumDifference]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def strata_rows(self) -> pd.DataFrame:
        """``strata`` as a table, one row a stratum."""
        rows = []
        for variable, levels in self.strata.items():
            for level, one in levels.items():
                row = asdict(one)
                estimate = row.pop("difference")
                rows.append({"variable": variable, "level": level, **row, **estimate})
        return pd.DataFrame(rows, columns=_DIFFERENCE_COLUMNS).rename(columns={"value": "difference"})

    def figure_rows(self) -> pd.DataFrame:
        """The differences as a table, one row a metric."""
        rows = [
            {
                "metric": name,
                "value_a": self.values_a.get(name, math.nan),
                "value_b": self.values_b.get(name, math.nan),
                "difference": estimate.value,
                "lower": estimate.lower,
                "upper": estimate.upper,
                "p": self.p_values.get(name, math.nan),
                "detectable": self.detectable.get(name, math.nan),
            }
            for name, estimate in self.differences.items()
        ]
        return pd.DataFrame(rows)


def _each_level(strata: dict[str, dict[str, Any]], change: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    return {
        variable: {level: change(figures) for level, figures in levels.items()} for variable, levels in strata.items()
    }
