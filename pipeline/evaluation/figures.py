"""Every figure of a test set at once, for any weighting of its cases."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd

from pipeline.evaluation.average_precision import average_precision, interpolated_precision, mean_precision
from pipeline.evaluation.calibration import Calibration
from pipeline.evaluation.centre_f1 import Counts, class_figures, count_error, detection_figures
from pipeline.evaluation.froc import froc_figures
from pipeline.evaluation.grades import Grades
from pipeline.evaluation.panoptic import Agreement
from pipeline.evaluation.ranking import Ranking
from pipeline.evaluation.roc import Scans
from pipeline.evaluation.tables import counts_from

MEAN_AP = "map_iou_0_50_0_95"
PANOPTIC, PANOPTIC_OVERLAP = "panoptic", "panoptic_overlap"
_MAP, _CLASS_MAP = "map_iou_", "class_map_iou_"

FROC_FIGURES = ("cpm", "sensitivity_at_0_25_fp", "sensitivity_at_1_fp")
RANKED_FIGURES = ("average_precision", *FROC_FIGURES)


def ranked_figures(
    ranking: Ranking, weights: np.ndarray, wanted: Sequence[str] = RANKED_FIGURES
) -> dict[str, np.ndarray]:
    """Those of `RANKED_FIGURES` that are wanted, each ``(rounds,)``."""
    found = {"average_precision": average_precision(ranking, weights)} if "average_precision" in wanted else {}
    if set(wanted) & set(FROC_FIGURES):
        found |= froc_figures(ranking, weights)
    return {name: found[name] for name in wanted}


@dataclass(frozen=True, eq=False)
class Measured:
    """What all figures are computed from.

    ``counts`` hold at the threshold; ``ranking`` is by the match rule; ``overlaps`` are rankings by AP's name;
    ``agreements`` the counts at the threshold by the Jaccard index's name; ``coco`` one ranking for each class and IoU;
    ``panoptic`` is `None` without masks, ``grades`` without objects of both sides.
    """

    counts: Counts
    ranking: Ranking
    overlaps: dict[str, Ranking]
    agreements: dict[str, Agreement]
    coco: dict[str, Ranking]
    panoptic: Agreement | None
    scans: Scans
    calibration: Calibration
    grades: Grades | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, cases: pd.DataFrame, objects: pd.DataFrame, threshold: float, classes: tuple[str, ...]) -> Self:
        """From the tables of an evaluation (see `pipeline.evaluation.tables`)."""
        counts, rows = counts_from(cases, objects, threshold, classes), _Rows.of(cases, objects, threshold)
        names = [column.removeprefix("outcome_") for column in objects.columns if column.startswith("outcome_")]
        hit, counted = rows.counted("outcome")
        return cls(
            counts=counts,
            ranking=rows.ranking("outcome", counts.objects),
            overlaps={name: rows.ranking(f"outcome_{name}", counts.objects) for name in names if _is_overlap(name)},
            agreements={
                name.replace("ap_iou_", "jaccard_"): rows.agreement(f"outcome_{name}", counts.objects)
                for name in names
                if _is_overlap(name)
            },
            coco=_coco_rankings(names, rows, counts, classes),
            panoptic=rows.agreement(f"outcome_{PANOPTIC}", counts.objects, PANOPTIC_OVERLAP)
            if PANOPTIC in names
            else None,
            scans=Scans.of(counts.objects, cases["patient_key"].to_numpy(), rows.case[counted], rows.score[counted]),
            calibration=Calibration.of(len(cases), rows.case[counted], rows.score[counted], hit[counted]),
            grades=Grades.of(cases, objects),
            classes=classes,
        )

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each figure ``(rounds,)``, where case ``c`` counts ``weights[r, c]`` times in round ``r``.

        ``weights`` is integer ``(rounds, cases)``. Class figures exist where there is more than one class.
        """
        several = len(self.classes) > 1
        return {
            **detection_figures(self.counts, weights),
            **ranked_figures(self.ranking, weights),
            **self._overlap_figures(weights),
            **(self.panoptic.panoptic(weights) if self.panoptic else {}),
            **(class_figures(self.counts, weights, self.classes) if several else {}),
            "count_error": count_error(self.counts, weights),
            **self.scans.figures(weights),
            "ece": self.calibration.error(weights),
            **(self.grades.figures(weights) if self.grades else {}),
        }

    def values(self) -> dict[str, float]:
        """Each figure of the test set as it is."""
        once = np.ones((1, len(self.counts.objects)), dtype=np.int64)
        return {name: float(figure[0]) for name, figure in self.figures(once).items()}

    def pooled_with(self, other: Self) -> "Measured":
        """Both versions' cases in one, the other's after one's own: rows of weights then mix the versions.

        Keeps what both have; the classes must be the same.
        """
        return Measured(
            **{one.name: _pooled(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)[:-1]},
            classes=self.classes,
        )

    def _overlap_figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        precisions = _at_once(
            lambda ranking: interpolated_precision(ranking, weights), [*self.overlaps.values(), *self.coco.values()]
        )
        figures = dict(zip(self.overlaps, precisions, strict=False))
        if self.coco:
            figures[MEAN_AP] = mean_precision(precisions[len(self.overlaps) :])
        figures |= {name: one.jaccard(weights) for name, one in self.agreements.items()}
        masks = {name: one for name, one in self.agreements.items() if name.startswith("mask_")}
        return figures | {
            name.replace("jaccard_", "jaccard_per_scan_"): one.jaccard_per_scan(weights) for name, one in masks.items()
        }


@dataclass(frozen=True, eq=False)
class _Rows:
    """The columns of the objects table that figures read, ``(rows,)``, highest score first and missed objects last.

    ``order`` is where each row stands in the table; ``reported`` is at the threshold.
    """

    table: pd.DataFrame
    order: np.ndarray
    case: np.ndarray
    score: np.ndarray
    reported: np.ndarray

    @classmethod
    def of(cls, cases: pd.DataFrame, objects: pd.DataFrame, threshold: float) -> Self:
        case = pd.Index(cases["case_id"]).get_indexer(pd.Index(objects["case_id"]))
        score = objects["score"].to_numpy(dtype=np.float64)
        order = np.argsort(-score, kind="stable")
        return cls(objects, order, case[order], score[order], (score >= threshold)[order])

    def counted(self, outcome: str) -> tuple[np.ndarray, np.ndarray]:
        """Which detections are hits, and which count at all (hits and false ones), under one rule."""
        hit = self._where(outcome, "hit")
        return hit, hit | self._where(outcome, "false")

    def _where(self, column: str, value: str) -> np.ndarray:
        return (self.table[column] == value).to_numpy(dtype=bool)[self.order]

    def ranking(self, outcome: str, objects: np.ndarray, label: str | None = None) -> Ranking:
        """The ranking under one rule, of detections of one class if ``label`` names it."""
        hit, counted = self.counted(outcome)
        if label is not None:
            counted = counted & self._where("label", label)
        return Ranking.of(objects, self.case[counted], self.score[counted], hit[counted])

    def agreement(self, outcome: str, objects: np.ndarray, overlap: str | None = None) -> Agreement:
        """Counts at the threshold under one rule; ``overlap`` is the column of the hits' IoU."""
        hit, counted = self.counted(outcome)
        found, false = hit & self.reported, counted & ~hit & self.reported
        shared = None if overlap is None else self.table[overlap].to_numpy(dtype=np.float64)[self.order][found]
        return Agreement.of(objects, self.case[found], self.case[false], shared)


def _at_once(figure: Callable[[Ranking], np.ndarray], rankings: Sequence[Ranking]) -> list[np.ndarray]:
    """A figure of several rankings, on all processors: NumPy lets other threads run while it counts."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(figure, rankings))


def _is_overlap(name: str) -> bool:
    return name.removeprefix("mask_").startswith("ap_iou_")


def _coco_rankings(names: list[str], rows: _Rows, counts: Counts, classes: tuple[str, ...]) -> dict[str, Ranking]:
    """One for each IoU; where classes were matched apart, for each IoU and class."""
    whole = {name: rows.ranking(f"outcome_{name}", counts.objects) for name in names if name.startswith(_MAP)}
    apart = {
        f"{name} {label}": rows.ranking(f"outcome_{name}", counts.class_objects[:, index], label)
        for index, label in enumerate(classes)
        for name in names
        if name.startswith(_CLASS_MAP)
    }
    return whole | apart


def _pooled(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: _pooled(one[name], other[name]) for name in one if name in other}
    if one is None or other is None:
        return None
    return one.followed_by(other) if isinstance(one, Counts) else one.pooled_with(other)
