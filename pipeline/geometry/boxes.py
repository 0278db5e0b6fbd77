"""Axis-aligned boxes that carry the grid they are drawn on."""

import itertools
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.grid import Grid
from pipeline.types import Corners, Edges, LabelMap, Points


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes along the array axes of one grid.

    ``lower`` and ``upper`` are ``(n, d)`` continuous voxel indices of the edges. Edge rule: voxel ``i`` covers
    ``[i - 0.5, i + 0.5]``, so a one-voxel lesion at index 5 is the box 4.5 … 5.5, of size 1.
    """

    lower: Points
    upper: Points
    grid: Grid

    def __post_init__(self) -> None:
        lower = np.asarray(self.lower, dtype=np.float64).reshape(-1, self.grid.dims)
        upper = np.asarray(self.upper, dtype=np.float64).reshape(-1, self.grid.dims)
        if lower.shape != upper.shape:
            raise ValueError(f"lower and upper must match, got {lower.shape} and {upper.shape}")
        if (upper < lower).any():
            worst = int(np.argmax((upper < lower).any(axis=1)))
            raise ValueError(f"a box ends before it starts: {lower[worst].tolist()} … {upper[worst].tolist()}")
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: np.ndarray | slice) -> "Boxes":
        return Boxes(self.lower[index], self.upper[index], self.grid)

    @classmethod
    def empty(cls, grid: Grid) -> "Boxes":
        none = np.zeros((0, grid.dims))
        return cls(none, none, grid)

    @classmethod
    def around(cls, centres_voxel: Points, sizes_voxel: Points | Edges, grid: Grid) -> "Boxes":
        """Boxes from centres ``(n, d)`` and full edge lengths ``(n, d)``, or ``(d,)`` for all, in voxels."""
        half = np.asarray(sizes_voxel, dtype=np.float64) / 2
        return cls(centres_voxel - half, centres_voxel + half, grid)

    @classmethod
    def from_world_bounds(cls, lower_world: Points, upper_world: Points, grid: Grid) -> "Boxes":
        """World-aligned bounds ``(n, d)`` → the smallest boxes on ``grid`` that hold all their corners."""
        corners = _corners(np.asarray(lower_world, dtype=np.float64), np.asarray(upper_world, dtype=np.float64))
        return cls._bounding(corners, grid)

    @classmethod
    def from_label_map(cls, labels: LabelMap, grid: Grid) -> tuple["Boxes", np.ndarray]:
        """One box for each label above 0, and those label values ``(n,)``, ascending."""
        from scipy.ndimage import find_objects

        found = [(value, box) for value, box in enumerate(find_objects(labels), start=1) if box is not None]
        lower = np.array([[axis.start for axis in box] for _, box in found], dtype=np.float64).reshape(-1, labels.ndim)
        upper = np.array([[axis.stop for axis in box] for _, box in found], dtype=np.float64).reshape(-1, labels.ndim)
        values = np.array([value for value, _ in found], dtype=np.int64)
        return cls(lower - 0.5, upper - 0.5, grid), values

    @classmethod
    def _bounding(cls, corners_world: Corners, grid: Grid) -> "Boxes":
        points = grid.to_voxel(corners_world.reshape(-1, grid.dims)).reshape(corners_world.shape)
        return cls(points.min(axis=1), points.max(axis=1), grid)

    def to(self, grid: Grid) -> "Boxes":
        """The same boxes on another grid of the same world.

        Exact where the array axes of both grids are parallel (crop, flip, axis swap, resample). Else the
        smallest box along the new axes that holds ALL corners, which is larger than the original.
        """
        if len(self) == 0:
            return Boxes.empty(grid)
        return Boxes._bounding(self.corners_world, grid)

    @property
    def centres(self) -> Points:
        """Centres ``(n, d)`` in continuous voxel indices."""
        return (self.lower + self.upper) / 2

    @property
    def sizes(self) -> Points:
        """Full edge lengths ``(n, d)`` in voxels."""
        return self.upper - self.lower

    @property
    def centres_world(self) -> Points:
        return self.grid.to_world(self.centres)

    @property
    def sizes_world(self) -> Points:
        """Full edge lengths ``(n, d)`` along the ARRAY axes, in the grid's unit."""
        return self.sizes * self.grid.spacing

    @property
    def corners_world(self) -> Corners:
        """All ``2**d`` corners in the world, ``(n, 2**d, d)``."""
        corners = _corners(self.lower, self.upper)
        return self.grid.to_world(corners.reshape(-1, self.grid.dims)).reshape(corners.shape)

    @property
    def bounds_world(self) -> tuple[Points, Points]:
        """Lower and upper world-aligned bounds ``(n, d)`` that hold all corners."""
        corners = self.corners_world
        return corners.min(axis=1), corners.max(axis=1)

    def iou(self, other: "Boxes") -> np.ndarray:
        """Intersection over union ``(n, m)`` with boxes on the same grid."""
        if other.grid is not self.grid:
            other = other.to(self.grid)
        lower = np.maximum(self.lower[:, None], other.lower[None])
        upper = np.minimum(self.upper[:, None], other.upper[None])
        shared = np.clip(upper - lower, 0, None).prod(axis=2)
        total = self.sizes.prod(axis=1)[:, None] + other.sizes.prod(axis=1)[None] - shared
        return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def _corners(lower: Points, upper: Points) -> Corners:
    picks = np.array(list(itertools.product([False, True], repeat=lower.shape[1])))
    return np.where(picks[None], upper[:, None], lower[:, None])
