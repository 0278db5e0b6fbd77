"""Where the sample's volumes lie in the world."""

import numpy as np

from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras
from pipeline.types import Affine, Points


def rotation(axis: int, degrees: float) -> np.ndarray:
    """The rotation ``(3, 3)`` by ``degrees`` about the x, y or z axis (0, 1, 2)."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


def affine_around(centre: np.ndarray, axes: np.ndarray, spacing: np.ndarray, shape: tuple[int, ...]) -> Affine:
    """The affine of a volume whose middle lies at ``centre``; the columns of ``axes`` are the array axes."""
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = np.round(centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2), 3)
    return affine


def scanner_grid(centre_lps: np.ndarray, axes_lps: np.ndarray, spacing: np.ndarray, shape: tuple[int, ...]) -> Grid:
    """The grid (RAS mm) of a scanner's volume that is given in DICOM's patient frame (LPS mm)."""
    return Grid(shape, affine_lps_to_ras(affine_around(centre_lps, axes_lps, spacing, shape)))


def local_to_voxel(points_mm: Points, spacing: np.ndarray) -> Points:
    """Local mm ``(n, 3)`` along the array axes, from the first voxel's CENTRE → continuous voxel indices."""
    return points_mm / spacing
