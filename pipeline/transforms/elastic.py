"""Smooth displacements: cubic B-splines over a coarse lattice, which never fold the image.

Source: a displacement by uniform cubic B-splines is one to one while its coefficients stay below 0.48 (2D) or 0.40
(3D) of the lattice spacing (Choi and Lee, Graphical Models 62:20, 2000).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

# Integral of the squared cubic B-spline: what is left of the variance of coefficients, an axis.
_KEPT = 151 / 315
_SPACING = 16.0  # voxels of the finest axis between lattice points, at least
_UNFOLDED = {2: 0.48, 3: 0.40}
_CLOSE = 1e-3  # voxels


@dataclass(frozen=True, eq=False)
class Displacement:
    """Displacement of the voxels of a patch of ``shape``, in voxels of the patch.

    ``coefficients`` is ``(d, a, b[, c])``. Lattice point ``n`` of an axis is at voxel ``(n - 1) * spacing[axis]``;
    beyond the lattice the displacement of its edge goes on.
    """

    shape: tuple[int, ...]
    coefficients: np.ndarray
    spacing: np.ndarray

    @classmethod
    def draw(cls, seed: int, deviation: float, shape: tuple[int, ...], voxel: np.ndarray) -> "Displacement":
        """A displacement that is alike in all directions of the world.

        Args:
            seed: which.
            deviation: its standard deviation, in voxels of the finest axis.
            shape: of the patch.
            voxel: edge lengths of a voxel of the patch, in any unit.
        """
        dims = len(shape)
        finest = voxel.min() / voxel
        # Evenly distributed coefficients have a bound, so that the lattice can be chosen for it.
        bound = math.sqrt(3.0 / _KEPT**dims) * deviation
        apart = max(_SPACING, bound / _UNFOLDED[dims]) * finest
        counts = [math.ceil((n - 1) / step) + 3 for n, step in zip(shape, apart, strict=True)]
        scale = (bound * finest).reshape(-1, *(1,) * dims)
        return cls(shape, np.random.default_rng(seed).uniform(-1.0, 1.0, (dims, *counts)) * scale, apart)

    @cached_property
    def bound(self) -> np.ndarray:
        """What no voxel is displaced beyond, ``(d,)``."""
        return np.abs(self.coefficients).max(axis=tuple(range(1, self.coefficients.ndim)))

    @cached_property
    def everywhere(self) -> torch.Tensor:
        """``(d, i, j[, k])`` float32, at each voxel of the patch."""
        moved = torch.from_numpy(self.coefficients.astype(np.float32))
        for axis, n in enumerate(self.shape):
            weights = torch.from_numpy(self._weights(np.arange(n), axis).astype(np.float32))
            # The axis in front becomes the last, so that after all of them the order is as before.
            moved = torch.tensordot(moved, weights, ([1], [1]))
        return moved

    def at(self, points: np.ndarray) -> np.ndarray:
        """``(n, d)`` at continuous voxel indices ``(n, d)`` of the patch."""
        dims = points.shape[1]
        moved = np.tensordot(self._weights(points[:, 0], 0), self.coefficients, (1, 1))  # (n, d, b[, c])
        for axis in range(1, dims):
            moved = np.einsum("ndb...,nb->nd...", moved, self._weights(points[:, axis], axis))
        return np.asarray(moved)

    def origins(self, points: np.ndarray) -> np.ndarray:
        """The ``(n, d)`` that are displaced onto ``points`` ``(n, d)``: ``origin + at(origin) = point``."""
        origins = points.copy()
        for _ in range(100):
            last, origins = origins, points - self.at(origins)
            if np.abs(origins - last).max(initial=0.0) < _CLOSE:
                break
        return origins

    def _weights(self, at: np.ndarray, axis: int) -> np.ndarray:
        """How much each lattice point counts at voxels ``(n,)`` along an axis: ``(n, points)``."""
        count = self.coefficients.shape[axis + 1]
        place = np.clip(at / self.spacing[axis] + 1.0, 1.0, count - 2.0)
        off = np.abs(place[:, None] - np.arange(count))
        return np.where(off < 1, 2 / 3 - off**2 + off**3 / 2, np.clip(2 - off, 0, None) ** 3 / 6)
