"""Every figure of a test set at once, for any weighting of its cases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from pipeline.evaluation.average_precision import average_precision, interpolated_precision
from pipeline.evaluation.centre_f1 import Counts, class_figures, count_error, detection_figures
from pipeline.evaluation.froc import cpm, sensitivity_at
from pipeline.evaluation.ranking import Ranking, Steps
from pipeline.evaluation.tables import counts_from, ranking_from

# How many numbers one array of one chunk of resampled rounds may hold: it should stay in the processor's cache.
_CHUNK = 250_000

RANKED_FIGURES: dict[str, Callable[[Steps], np.ndarray]] = {
    "average_precision": average_precision,
    "cpm": cpm,
    "sensitivity_at_1_fp": lambda steps: sensitivity_at(steps, 1.0),
}


@dataclass(frozen=True, eq=False)
class Measured:
    """What all figures are computed from: counts at the threshold, the ranking, and rankings by box overlap."""

    counts: Counts
    ranking: Ranking
    overlaps: dict[str, Ranking]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, cases: pd.DataFrame, objects: pd.DataFrame, threshold: float, classes: tuple[str, ...]) -> Self:
        """From the tables of an evaluation (see `pipeline.evaluation.tables`)."""
        names = [column.removeprefix("outcome_") for column in objects.columns if column.startswith("outcome_")]
        return cls(
            counts_from(cases, objects, threshold, classes),
            ranking_from(cases, objects, "outcome"),
            {name: ranking_from(cases, objects, f"outcome_{name}") for name in names},
            classes,
        )

    def figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each figure ``(rounds,)``, where case ``c`` counts ``weights[r, c]`` times in round ``r``.

        ``weights`` is integer ``(rounds, cases)``. Class figures exist where there is more than one class.
        """
        several = len(self.classes) > 1
        return {
            **detection_figures(self.counts, weights),
            **_in_chunks(self.ranking, weights, RANKED_FIGURES),
            **self._overlap_figures(weights),
            **(class_figures(self.counts, weights, self.classes) if several else {}),
            "count_error": count_error(self.counts, weights),
        }

    def values(self) -> dict[str, float]:
        """Each figure of the test set as it is."""
        once = np.ones((1, len(self.counts.objects)), dtype=np.int64)
        return {name: float(figure[0]) for name, figure in self.figures(once).items()}

    def pooled_with(self, other: Self) -> "Measured":
        """Both versions' cases in one, the other's after one's own: rows of weights then mix the versions.

        Keeps the box overlaps that both have; the classes must be the same.
        """
        return Measured(
            self.counts.followed_by(other.counts),
            self.ranking.pooled_with(other.ranking),
            {
                name: self.overlaps[name].pooled_with(other.overlaps[name])
                for name in self.overlaps
                if name in other.overlaps
            },
            self.classes,
        )

    def _overlap_figures(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        figures: dict[str, np.ndarray] = {}
        for name, ranking in self.overlaps.items():
            figures |= _in_chunks(ranking, weights, {name: interpolated_precision})
        return figures


def _in_chunks(
    ranking: Ranking, weights: np.ndarray, wanted: dict[str, Callable[[Steps], np.ndarray]]
) -> dict[str, np.ndarray]:
    rows = max(1, _CHUNK // ranking.size)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for start in range(0, len(weights), rows):
        steps = ranking.at_steps(weights[start : start + rows])
        for name, figure in wanted.items():
            parts[name].append(figure(steps))
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}
