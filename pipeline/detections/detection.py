"""What a detector says about one volume."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import ModelError
from pipeline.geometry import Boxes
from pipeline.types import Corners, LabelIndices, Scores


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections on one volume, highest score first.

    ``boxes`` lie on the volume's own grid (as acquired, not the network's). ``scores`` is ``(n,)`` in 0 … 1.
    ``labels`` is ``(n,)``, an index into ``classes``. ``outlines`` ``(n, vertices, 2)`` are closed polygons in
    continuous voxel indices of the same grid, `None` from a detector of boxes; they may reach beyond the image, the
    boxes, which are their bounds, do not. ``grades`` ``(n,)`` are 0 … 1 of what ``grade_name`` says, such as
    malignancy; `None` from a detector that grades nothing.
    """

    volume_id: str
    boxes: Boxes
    scores: Scores
    labels: LabelIndices
    classes: tuple[str, ...]
    outlines: Corners | None = None
    grades: Scores | None = None
    grade_name: str = ""

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float64)
        labels = np.asarray(self.labels, dtype=np.int64)
        if not len(self.boxes) == len(scores) == len(labels):
            raise ValueError(f"{len(self.boxes)} boxes, {len(scores)} scores, {len(labels)} labels")
        if self.outlines is not None and len(self.outlines) != len(scores):
            raise ValueError(f"{len(self.outlines)} outlines, {len(scores)} scores")
        if self.grades is not None and len(self.grades) != len(scores):
            raise ValueError(f"{len(self.grades)} grades, {len(scores)} scores")
        if (self.grades is None) != (self.grade_name == ""):
            raise ValueError(f"grades and the name of the grade come together, got the name {self.grade_name!r}")
        if not np.isfinite(scores).all():
            raise ModelError(f"volume {self.volume_id}: the detector gave a score that is not a number")
        if self.grades is not None and not np.isfinite(self.grades).all():
            raise ModelError(f"volume {self.volume_id}: the detector gave a grade that is not a number")
        order = np.argsort(-scores, kind="stable")
        object.__setattr__(self, "boxes", self.boxes[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "labels", labels[order])
        if self.outlines is not None:
            object.__setattr__(self, "outlines", np.asarray(self.outlines, dtype=np.float64)[order])
        if self.grades is not None:
            object.__setattr__(self, "grades", np.asarray(self.grades, dtype=np.float64)[order])

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Those with a score of at least ``threshold``."""
        keep = self.scores >= threshold
        return replace(
            self,
            boxes=self.boxes[keep],
            scores=self.scores[keep],
            labels=self.labels[keep],
            outlines=None if self.outlines is None else self.outlines[keep],
            grades=None if self.grades is None else self.grades[keep],
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.classes[index] for index in self.labels)
