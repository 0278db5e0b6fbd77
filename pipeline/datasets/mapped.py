"""An array on disk that is read by region and holds neither memory nor an open file of its own."""

import mmap
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

# Each open map holds a file descriptor, of which a process has about 1,000, and its pages count as its memory.
_OPEN = 32


@dataclass(frozen=True)
class MappedArray:
    """The array of a ``.npy`` file, in C order; regions by index, as fresh arrays."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    inode: int  # a file that was written anew is not what another map still shows

    @classmethod
    def open(cls, path: Path) -> "MappedArray":
        """Raises what `numpy.load` does for a file that is absent or not whole."""
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not found.flags.c_contiguous:
            raise ValueError(f"{path.name} is not in C order")
        return cls(path, found.shape, found.dtype, found.offset, path.stat().st_ino)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, region: Any) -> np.ndarray:
        return np.array(_mapped(self)[region])

    def part(self, lower: tuple[int, ...], upper: tuple[int, ...]) -> "MappedPart":
        """``[lower:upper]`` along each axis, not read yet."""
        return MappedPart(self, lower, upper)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


@dataclass(frozen=True)
class MappedPart:
    """A box of a `MappedArray`; regions by index, as fresh arrays."""

    whole: MappedArray
    lower: tuple[int, ...]
    upper: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(up - low for low, up in zip(self.lower, self.upper, strict=True))

    @property
    def ndim(self) -> int:
        return len(self.lower)

    def __getitem__(self, region: Any) -> np.ndarray:
        window = tuple(slice(low, up) for low, up in zip(self.lower, self.upper, strict=True))
        return np.array(_mapped(self.whole)[window][region])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


@lru_cache(maxsize=_OPEN)
def _mapped(array: MappedArray) -> np.ndarray:
    with array.path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(array.shape, array.dtype, held, array.offset)
