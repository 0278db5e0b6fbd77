"""What a detector says about one volume."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import ModelError
from pipeline.geometry import Boxes
from pipeline.types import LabelIndices, Scores


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections on one volume, highest score first.

    ``boxes`` lie on the volume's own grid (as acquired, not the network's). ``scores`` is ``(n,)`` in 0 … 1.
    ``labels`` is ``(n,)``, an index into ``classes``.
    """

    volume_id: str
    boxes: Boxes
    scores: Scores
    labels: LabelIndices
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float64)
        labels = np.asarray(self.labels, dtype=np.int64)
        if not len(self.boxes) == len(scores) == len(labels):
            raise ValueError(f"{len(self.boxes)} boxes, {len(scores)} scores, {len(labels)} labels")
        if not np.isfinite(scores).all():
            raise ModelError(f"volume {self.volume_id}: the detector gave a score that is not a number")
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "boxes", self.boxes[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "labels", labels[order])

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Those with a score of at least ``threshold``."""
        keep = self.scores >= threshold
        return Detections(self.volume_id, self.boxes[keep], self.scores[keep], self.labels[keep], self.classes)

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.classes[index] for index in self.labels)
