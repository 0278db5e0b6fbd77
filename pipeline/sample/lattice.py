"""The fine lattice on which a 3D scene is painted, and the step down to scanner voxels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.types import Points


@dataclass(frozen=True, eq=False)
class Lattice:
    """Voxels ``shape`` (i, j, k) of ``spacing`` mm, each painted as ``slabs`` thin layers along k.

    Local millimetres run along the array axes from the CENTRE of the first voxel; voxel ``i`` covers
    ``(i ± 0.5) * spacing``. The layers of a voxel are averaged: partial volume, as a thick slice has.
    """

    shape: tuple[int, int, int]
    spacing: np.ndarray
    slabs: int = 2

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        return (self.shape[0], self.shape[1], self.shape[2] * self.slabs)

    @cached_property
    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local mm of the fine lattice along each axis, shaped to broadcast against each other, float32."""
        thin = self.spacing[2] / self.slabs
        x = np.arange(self.shape[0]) * self.spacing[0]
        y = np.arange(self.shape[1]) * self.spacing[1]
        z = (np.arange(self.fine_shape[2]) + 0.5) * thin - self.spacing[2] / 2
        return tuple(axis.astype(np.float32) for axis in (x[:, None, None], y[None, :, None], z[None, None, :]))

    @property
    def size_mm(self) -> np.ndarray:
        """Edge lengths of the whole volume."""
        return np.array(self.shape) * self.spacing

    def fine_index(self, points_mm: Points) -> Points:
        """Local mm ``(n, 3)`` → continuous indices of the fine lattice."""
        thin = self.spacing[2] / self.slabs
        steps = np.array([self.spacing[0], self.spacing[1], thin])
        return (points_mm + np.array([0, 0, self.spacing[2] / 2 - thin / 2])) / steps

    def window(self, lower_mm: np.ndarray, upper_mm: np.ndarray) -> tuple[slice, slice, slice]:
        """The part of the fine lattice whose samples lie between two corners; may be empty."""
        ends = self.fine_index(np.stack([lower_mm, upper_mm]))
        first = np.clip(np.ceil(ends[0]), 0, self.fine_shape).astype(int)
        last = np.clip(np.floor(ends[1]) + 1, first, self.fine_shape).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))  # type: ignore[return-value]

    def open_mesh(self, window: tuple[slice, slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local mm of the samples in a window along each axis, shaped to broadcast against each other."""
        x, y, z = self.axes_mm
        return x[window[0]], y[:, window[1]], z[:, :, window[2]]

    def points(self, window: tuple[slice, slice, slice]) -> Points:
        """Local mm of the samples in a window, ``(n, 3)``, in C order."""
        return np.stack(np.broadcast_arrays(*self.open_mesh(window)), axis=-1).reshape(-1, 3).astype(np.float64)

    def scan(self, fine: np.ndarray, blur_voxel: float) -> np.ndarray:
        """Average the thin layers and blur in plane: fine lattice → voxels, float32."""
        thick = fine.reshape(*self.shape, self.slabs).mean(axis=3)
        return gaussian_filter(thick, (blur_voxel, blur_voxel, 0), mode="nearest", truncate=3.0)


def filled(distance_mm: np.ndarray, softness_mm: float) -> np.ndarray:
    """Signed distance (negative inside) → share of the sample that is filled, 0 … 1, float32."""
    return np.clip(0.5 - distance_mm / softness_mm, 0, 1).astype(np.float32)
