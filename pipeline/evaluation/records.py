"""What evaluation takes and gives: cases in, one evaluation or comparison out, each saved as a folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from pipeline.detections import Detections
from pipeline.volumes import Annotations


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One scan (or window of a scan) with what is there and what was detected, both on the case's own grid."""

    case_id: str
    patient_key: str
    annotations: Annotations
    detections: Detections
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval. All three are NaN where the figure does not exist."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
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

    ``metrics`` use the same names everywhere: ``f1 precision recall average_precision cpm sensitivity_at_1_fp
    ap_iou_0_50 class_f1_<class> class_f1_weighted count_error``. ``threshold`` is the score at which f1, precision,
    recall and the class figures hold; it was chosen on validation data. ``cases`` has one row a case;
    ``objects`` one row a detection or missed annotation, enough to recompute every figure.
    ``test_set`` is the digest of case ids and annotations: only evaluations with the same one compare.
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
        }

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        raw = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        raw["metrics"] = {name: Estimate(**estimate) for name, estimate in raw["metrics"].items()}
        raw["curves"] = {
            name: Curve(curve["x_name"], curve["y_name"], tuple(curve["x"]), tuple(curve["y"]))
            for name, curve in raw["curves"].items()
        }
        return cls(
            **raw,
            cases=pd.read_parquet(folder / "cases.parquet"),
            objects=pd.read_parquet(folder / "objects.parquet"),
        )


@dataclass(frozen=True)
class Comparison:
    """Version B against version A on the same cases: differences are B − A, paired by patient."""

    version_a: str
    version_b: str
    test_set: str
    primary: str
    differences: dict[str, Estimate]
    p_values: dict[str, float]
    values_a: dict[str, float]
    values_b: dict[str, float]
    patients: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)
