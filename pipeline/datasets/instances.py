"""Which object each voxel of a case belongs to: the masks of its annotations, read from disk region by region."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from pipeline.errors import DatasetError
from pipeline.geometry import Grid
from pipeline.transforms.placement import Placement
from pipeline.types import LabelMap
from pipeline.volumes.arrays import StoredArray

# Not known: beyond the image.
UNKNOWN = -1
_FEW = 1024
_SLAB_VOXELS = 1 << 24


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
        found = np.unique(np.concatenate([np.unique(slab) for slab in _slabs(self.label_map)]))
        values = found[found > 0].astype(np.int64)
        if len(values) != len(self.kept):
            raise DatasetError(
                f"{self.name}: its label map holds {len(values)} objects and its annotations {len(self.kept)}; "
                "ingest its archive again"
            )
        return values

    @cached_property
    def _number_of(self) -> Callable[[np.ndarray], LabelMap]:
        """Values of the label map → objects of the case, 0 for none."""
        numbers = np.append(0, np.where(self.kept, np.cumsum(self.kept), 0)).astype(np.int32)
        values = np.append(0, self._values)
        if values[-1] > 4 * len(values) + _FEW:  # far apart: a table of them all would be large
            return partial(_searched, values, numbers)
        table = np.zeros(int(values[-1]) + 1, dtype=np.int32)
        table[values] = numbers
        return partial(_looked_up, table)

    def region(self, lower: tuple[int, ...], upper: tuple[int, ...]) -> LabelMap:
        """``(i, j[, k])`` int32 of the case's voxels ``lower:upper`` (``upper`` exclusive), which lie inside it."""
        if self.label_map is None:
            return np.zeros(tuple(u - low for low, u in zip(lower, upper, strict=True)), dtype=np.int32)
        corner = zip(lower, upper, self.lower, strict=True)
        value = self.label_map[(0, *(slice(low + first, up + first) for low, up, first in corner))]
        return self._number_of(value)

    @property
    def whole(self) -> LabelMap:
        """``(i, j[, k])`` int32 of the whole case."""
        return self.region((0,) * self.grid.dims, self.grid.shape)

    def on(self, placement: Placement) -> LabelMap:
        """What is nearest to each voxel's centre of a patch, ``(i, j[, k])`` int32; beyond the case it is `UNKNOWN`.

        Args:
            placement: of the patch on `grid`.
        """
        lower, upper = placement.region(self.grid.shape)
        return placement.nearest(self.region(lower, upper), lower, UNKNOWN)


# Functions of the module and not closures: worker processes that are spawned get a copy.
def _searched(values: np.ndarray, numbers: np.ndarray, found: np.ndarray) -> LabelMap:
    return numbers[np.where(found > 0, np.searchsorted(values, found), 0)]


def _looked_up(table: np.ndarray, found: np.ndarray) -> LabelMap:
    return table[np.maximum(found, 0)]


def _slabs(label_map: StoredArray) -> Iterator[np.ndarray]:
    """The whole label map, a part at a time: that of a large scan need not fit into memory."""
    last = label_map.shape[-1]
    step = max(_SLAB_VOXELS // max(int(np.prod(label_map.shape[:-1])), 1), 1)
    for start in range(0, last, step):
        yield label_map[..., start : start + step]
