"""A voxel lattice and where it lies in the world."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from pipeline.geometry import affine as aff
from pipeline.types import Affine, Points

Unit = Literal["mm", "px"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxels: how many along each axis, and the affine into the world.

    ``shape`` is ``(i, j)`` or ``(i, j, k)``: ``i`` columns, ``j`` rows, ``k`` slices. ``affine`` is
    ``(d + 1, d + 1)``, voxel index → world. The world is RAS millimetres for 3D; the image plane in mm for a
    2D image with a physical size; pixels (``unit == "px"``) for a 2D image without one.
    Edge rule: index 0 is the centre of the first voxel, so the lattice covers ``[-0.5, shape - 0.5]``.

    Raises:
        GeometryError: the affine is not finite, invertible and orthogonal.
    """

    shape: tuple[int, ...]
    affine: Affine
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        matrix = np.array(self.affine, dtype=np.float64)
        if matrix.shape != (self.dims + 1, self.dims + 1):
            raise ValueError(f"a grid of {self.dims} axes needs an affine of {self.dims + 1} rows, got {matrix.shape}")
        matrix.setflags(write=False)
        object.__setattr__(self, "affine", matrix)
        aff.check(matrix, "grid")

    @classmethod
    def of_pixels(cls, shape: tuple[int, ...]) -> "Grid":
        """The grid of a 2D image ``(i, j)`` without a physical size: world = pixel index."""
        return cls(shape, np.eye(3), "px")

    @property
    def dims(self) -> int:
        return len(self.shape)

    @cached_property
    def spacing(self) -> np.ndarray:
        """Voxel spacing along each axis, ``(d,)``, in ``unit``."""
        return aff.spacing(self.affine)

    @cached_property
    def inverse(self) -> Affine:
        return np.linalg.inv(self.affine)

    @property
    def axes(self) -> str:
        return "ijk"[: self.dims]

    def to_world(self, points_voxel: Points) -> Points:
        """Continuous voxel indices ``(n, d)`` → world ``(n, d)``."""
        return aff.apply(self.affine, points_voxel)

    def to_voxel(self, points_world: Points) -> Points:
        """World ``(n, d)`` → continuous voxel indices ``(n, d)``."""
        return aff.apply(self.inverse, points_world)

    def contains(self, points_voxel: Points) -> np.ndarray:
        """Which continuous voxel indices ``(n, d)`` lie in ``[-0.5, shape - 0.5)``: bool ``(n,)``."""
        return np.all((points_voxel >= -0.5) & (points_voxel < np.array(self.shape) - 0.5), axis=1)

    def crop(self, lower: tuple[int, ...], upper: tuple[int, ...]) -> "Grid":
        """The grid of ``array[lower:upper]`` (``upper`` exclusive); either may lie outside, as for padding."""
        matrix = self.affine.copy()
        matrix[:-1, -1] = self.to_world(np.array([lower], dtype=np.float64))[0]
        return Grid(tuple(u - low for low, u in zip(lower, upper, strict=True)), matrix, self.unit)

    def resampled(self, spacing: tuple[float, ...]) -> "Grid":
        """The same extent with another spacing: axes and first edges stay; the last edges move by up to half a new
        voxel, since there are whole ones, at least 1."""
        target = np.array(spacing, dtype=np.float64)
        shape = np.maximum(np.round(np.array(self.shape) * self.spacing / target), 1).astype(int)
        matrix = self.affine.copy()
        matrix[:-1, :-1] = aff.directions(self.affine) * target
        first_edge_to_centre = (target / self.spacing - 1.0) / 2.0
        matrix[:-1, -1] = self.to_world(first_edge_to_centre[None])[0]
        return Grid(tuple(int(n) for n in shape), matrix, self.unit)

    def orientation(self) -> np.ndarray:
        """nibabel's orientation array ``(3, 2)`` of a 3D grid, relative to RAS."""
        from nibabel.orientations import io_orientation  # here: the decoders' children start without nibabel

        return io_orientation(self.affine)
