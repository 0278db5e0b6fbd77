"""A 2D field of view as a camera gives it, with the nuclei planted in it."""

from dataclasses import dataclass

import numpy as np

from pipeline.types import LabelMap, Points


@dataclass(frozen=True, eq=False)
class Field:
    """Pixels (i, j) or (i, j, 3), uint8, and the nuclei.

    ``centres``: ``(n, 2)`` of the nuclei in continuous pixel indices (0 = CENTRE of the first pixel). ``lower`` and
    ``upper``: ``(n, 2)`` edges of the visible part. ``instances``: uint16 (i, j), nucleus number 1 … n.
    """

    pixels: np.ndarray
    centres: Points
    lower: Points
    upper: Points
    labels: tuple[str, ...]
    instances: LabelMap

    def __len__(self) -> int:
        return len(self.labels)
