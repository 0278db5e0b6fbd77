"""Affines between voxel indices and the world.

Shapes: an affine is ``(d + 1, d + 1)`` for ``d`` spatial axes and maps a homogeneous voxel index to the
world. Voxel index 0 is the CENTRE of the first voxel (DICOM PS3.3 C.7.6.2.1.1; NIfTI-1 method 3).
"""

import numpy as np

from pipeline.errors import GeometryError
from pipeline.types import Affine, Points

# Direction cosines read from a header carry 6 or so digits; worse than this is a wrong header.
ORTHOGONALITY_TOLERANCE = 1e-3


def apply(affine: Affine, points: Points) -> Points:
    """Map points ``(n, d)`` through an affine ``(d + 1, d + 1)``."""
    return points @ affine[:-1, :-1].T + affine[:-1, -1]


def spacing(affine: Affine) -> np.ndarray:
    """Distance between neighbouring voxel centres along each array axis, ``(d,)``, in world units."""
    return np.linalg.norm(affine[:-1, :-1], axis=0)


def directions(affine: Affine) -> np.ndarray:
    """Unit vectors of the array axes in the world, one a column, ``(d, d)``."""
    return affine[:-1, :-1] / spacing(affine)


def check(affine: Affine, what: str) -> None:
    """Raise `GeometryError` unless the affine is finite, invertible and free of shear.

    Args:
        affine: ``(d + 1, d + 1)``.
        what: whose affine it is, for the message (never a patient identifier).
    """
    if not np.isfinite(affine).all():
        raise GeometryError(f"{what}: the affine must be finite, got {affine.tolist()}")
    steps = spacing(affine)
    if (steps <= 0).any():
        raise GeometryError(f"{what}: voxel spacing must be above 0, got {steps.tolist()}")
    axes = directions(affine)
    worst = np.abs(axes.T @ axes - np.eye(len(steps))).max()
    if worst > ORTHOGONALITY_TOLERANCE:
        raise GeometryError(
            f"{what}: the array axes must be orthogonal (cosine below {ORTHOGONALITY_TOLERANCE}), got a "
            f"cosine of {worst:.4f}: a sheared or tilted volume; resample it before ingest"
        )
