"""DICOM's patient frame (LPS) and the one used inside (RAS): the only place where a sign changes.

LPS: x grows to the patient's left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
RAS: x grows to the right, y to the front, z to the head (NIfTI-1). Both in millimetres.
"""

import numpy as np

from pipeline.types import Affine, Points

_FLIP_XY = np.diag([-1.0, -1.0, 1.0])


def lps_to_ras(points_lps: Points) -> Points:
    """Points ``(n, 3)`` in mm, LPS → RAS."""
    return points_lps @ _FLIP_XY


def ras_to_lps(points_ras: Points) -> Points:
    """Points ``(n, 3)`` in mm, RAS → LPS."""
    return points_ras @ _FLIP_XY


def affine_lps_to_ras(affine_lps: Affine) -> Affine:
    """An affine ``(4, 4)`` from voxel index to LPS mm → from voxel index to RAS mm."""
    flip = np.eye(4)
    flip[:3, :3] = _FLIP_XY
    return flip @ affine_lps


def affine_ras_to_lps(affine_ras: Affine) -> Affine:
    """An affine ``(4, 4)`` from voxel index to RAS mm → from voxel index to LPS mm."""
    return affine_lps_to_ras(affine_ras)
