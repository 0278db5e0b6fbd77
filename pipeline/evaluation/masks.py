"""Objects as sets of voxels: from label maps, and how they overlap.

Only voxels of objects are kept, so ten thousand nuclei cost what their voxels cost, and overlaps are counted on the
voxels that two objects share: no table of all pairs is made.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from pipeline.types import LabelMap


@dataclass(frozen=True, eq=False)
class Masks:
    """One mask an object, on a lattice of ``shape``; masks may overlap each other.

    ``voxel`` is ``(v,)``: C-order positions in ``shape``, ascending. ``owner`` is ``(v,)``: the object, from 0 to
    ``count - 1``, that each belongs to. A voxel of two objects comes twice. An object may have no voxel: it overlaps
    with nothing.
    """

    shape: tuple[int, ...]
    voxel: np.ndarray
    owner: np.ndarray
    count: int

    def __post_init__(self) -> None:
        if self.voxel.shape != self.owner.shape:
            raise ValueError(f"{len(self.voxel)} voxels and {len(self.owner)} owners")
        if len(self.owner) and not (self.owner.min() >= 0 and self.owner.max() < self.count):
            raise ValueError(f"owners {self.owner.min()} … {self.owner.max()} of {self.count} objects")

    def __len__(self) -> int:
        return self.count

    @classmethod
    def of_label_map(cls, label_map: LabelMap, values: Sequence[int] | np.ndarray | None = None) -> Self:
        """The objects of a label map ``(i, j[, k])``, background 0.

        Args:
            label_map: as ``VolumeStore.label_map`` gives it, on the case's own grid.
            values: the map's value of each object, in the objects' order; values that are not named belong to no
                object, and a named value that is not there is an object without voxels. By default every value
                above 0, ascending: the order of ``Boxes.from_label_map``.

        Raises:
            ValueError: a value that is not positive, or comes twice.
        """
        flat = np.asarray(label_map).reshape(-1)
        voxel = np.flatnonzero(flat)
        value = flat[voxel].astype(np.int64)
        named = np.unique(value[value > 0]) if values is None else np.asarray(values, dtype=np.int64).reshape(-1)
        order = np.argsort(named, kind="stable")
        ascending = named[order]
        if (ascending < 1).any() or (np.diff(ascending) == 0).any():
            raise ValueError(f"label values must be positive and differ, got {named.tolist()[:10]} …")
        place = np.searchsorted(ascending, value)
        known = place < len(ascending)
        known[known] = ascending[place[known]] == value[known]
        return cls(label_map.shape, voxel[known], order[place[known]], len(named))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Voxels of each object, ``(count,)``."""
        return np.bincount(self.owner, minlength=self.count)

    @cached_property
    def first_voxels(self) -> np.ndarray:
        """The lowest position of each object, ``(count,)``; beyond the lattice where it has no voxel."""
        first = np.full(self.count, int(np.prod(self.shape)), dtype=np.int64)
        np.minimum.at(first, self.owner, self.voxel)
        return first

    def digest(self, order: np.ndarray) -> bytes:
        """Names the masks when objects come in this order, ``(count,)``: shape, and which voxels each has."""
        rank = np.empty(self.count, dtype=np.int64)
        rank[order] = np.arange(self.count)
        owner = rank[self.owner]
        ordered = np.lexsort((owner, self.voxel))
        content = np.stack([self.voxel[ordered], owner[ordered]]).astype("<i8").tobytes()
        return hashlib.sha256(repr(self.shape).encode() + content).digest()

    def shared(self, other: "Masks") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of own and other objects that share voxels, and how many: three arrays ``(p,)``.

        Raises:
            ValueError: the lattices differ.
        """
        if self.shape != other.shape:
            raise ValueError(f"masks lie on lattices of {self.shape} and {other.shape}")
        first = np.searchsorted(other.voxel, self.voxel, side="left")
        times = np.searchsorted(other.voxel, self.voxel, side="right") - first
        own = np.repeat(self.owner, times)
        within = np.arange(len(own)) - np.repeat(np.cumsum(times) - times, times)
        pair = own * max(other.count, 1) + other.owner[np.repeat(first, times) + within]
        pair, voxels = np.unique(pair, return_counts=True)
        return pair // max(other.count, 1), pair % max(other.count, 1), voxels
