"""Which object each voxel of a case belongs to: the masks of its annotations, read from disk region by region."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.errors import DatasetError
from pipeline.geometry import Grid
from pipeline.types import LabelMap
from pipeline.volumes.arrays import StoredArray

# Not known: beyond the image, or beyond what a patch shows.
UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Instances:
    """Objects by number: 0 where there is none, ``n + 1`` where annotation ``n`` of the case lies.

    ``label_map`` is of the whole volume, `None` where it has no object. The case begins at voxel ``lower`` of it and
    lies on ``grid``. ``kept`` ``(m,)`` says which of the volume's annotations are the case's, in their order.
    """

    label_map: StoredArray | None
    grid: Grid
    lower: tuple[int, ...]
    kept: np.ndarray
    name: str

    @classmethod
    def none(cls, grid: Grid) -> "Instances":
        """A case without an object."""
        return cls(None, grid, (0,) * grid.dims, np.zeros(0, dtype=bool), "")

    @cached_property
    def _values(self) -> np.ndarray:
        """The label map's value of each of the volume's annotations, ascending.

        Raises:
            DatasetError: there are more or fewer of them than annotations.
        """
        assert self.label_map is not None
        found = np.unique(self.label_map[...])
        values = found[found > 0].astype(np.int64)
        if len(values) != len(self.kept):
            raise DatasetError(
                f"{self.name}: its label map holds {len(values)} objects and its annotations {len(self.kept)}; "
                "ingest its archive again"
            )
        return values

    def region(self, lower: tuple[int, ...], upper: tuple[int, ...]) -> LabelMap:
        """``(i, j[, k])`` int32 of the case's voxels ``lower:upper`` (``upper`` exclusive), which lie inside it."""
        if self.label_map is None:
            return np.zeros(tuple(u - low for low, u in zip(lower, upper, strict=True)), dtype=np.int32)
        numbers = np.append(0, np.where(self.kept, np.cumsum(self.kept), 0)).astype(np.int32)
        corner = zip(lower, upper, self.lower, strict=True)
        value = self.label_map[(0, *(slice(low + first, up + first) for low, up, first in corner))]
        place = np.searchsorted(self._values, value.astype(np.int64), side="right")
        return np.where(value > 0, numbers[place], 0).astype(np.int32)

    @property
    def whole(self) -> LabelMap:
        """``(i, j[, k])`` int32 of the whole case."""
        return self.region((0,) * self.grid.dims, self.grid.shape)

    def on(self, grid: Grid, shown: Grid) -> LabelMap:
        """The objects on another grid of the same world, ``(i, j[, k])`` int32: what is nearest to each voxel's centre.

        Args:
            grid: of a training patch, after cutting, turns, flips and zoom.
            shown: the grid of what the patch was cut from; beyond it, and beyond the case, voxels are `UNKNOWN`.
        """
        index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
        world = grid.to_world(index.reshape(-1, grid.dims).astype(np.float64))
        at = np.floor(self.grid.to_voxel(world) + 0.5).astype(np.int64)
        known = np.all((at >= 0) & (at < np.array(self.grid.shape)), axis=1) & shown.contains(shown.to_voxel(world))
        sampled = np.full(len(at), UNKNOWN, dtype=np.int32)
        if known.any():
            lower, upper = at[known].min(axis=0), at[known].max(axis=0) + 1
            region = self.region(tuple(lower.tolist()), tuple(upper.tolist()))
            sampled[known] = region[tuple((at[known] - lower).T)]
        return sampled.reshape(grid.shape)
