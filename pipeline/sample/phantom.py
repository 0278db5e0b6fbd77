"""A 3D scene as a scanner gives it, with what was planted in it."""

from dataclasses import dataclass

import numpy as np

from pipeline.types import Points


@dataclass(frozen=True, eq=False)
class Phantom:
    """Voxels (i, j, k) int16 and the planted objects.

    ``lower_mm`` and ``upper_mm`` are ``(n, 3)`` edges of the objects in local millimetres: along the array axes,
    from the CENTRE of the first voxel. ``labels``: uint16 (i, j, k), object number 1 … n; ``None`` where the
    scene is annotated with boxes alone.
    """

    voxels: np.ndarray
    spacing: np.ndarray
    lower_mm: Points
    upper_mm: Points
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lower_mm)
