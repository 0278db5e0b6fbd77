"""Voxels on disk: chunked, compressed, checksummed (Blosc2's ``b2nd``), read by region.

Measured against zarr 3 and plain ``.npy`` by ``benchmarks/store_formats.py``. On disk the axes are reversed,
``(channel, k, j, i)``: that is the order in which DICOM and NIfTI hold their voxels, so that nothing is turned around
when a scan is written. Every chunk carries a CRC-32 of its compressed bytes, checked when it is first read.
"""

import contextlib
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.errors import SourceError, StoreError

# Left beside voxels that turned out to be damaged.
DAMAGED = "damaged"
_CRC, _KIND, _CONTENT = "chunk_crc32", "array", "content_sha256"
# Along (k, j, i): whole-volume reads, 3D patches and single slices are all near their best (see the benchmark).
_CHUNK_3D, _BLOCK_3D = (32, 128, 128), (16, 32, 32)
_CHUNK_2D, _BLOCK_2D = (512, 512), (64, 512)
_CHANNELS_TOGETHER = 4
_SLAB_BYTES = 16 << 20  # a change of it, or of the chunks, renames every volume


class Voxels(Protocol):
    """What can be written: an array, or anything that gives regions ``(channel, i, j[, k])`` of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, region: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class WrittenArray:
    """A file that `write_array` wrote; ``content`` is the digest of what is in it (see `content_digest`)."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    content: str

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "shape": list(self.shape), "dtype": self.dtype.str, "content": self.content}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "WrittenArray":
        return cls(Path(raw["path"]), tuple(raw["shape"]), np.dtype(raw["dtype"]), raw["content"])


class DamagedArray(SourceError):
    """Stored voxels that are not what was written."""


@dataclass(frozen=True)
class StoredArray:
    """An array on disk: ``shape`` and ``dtype`` as written, regions by index; nothing is kept in memory.

    Indices are integers, slices with a positive step, and ``...``. A region comes as a fresh array.

    Raises:
        DamagedArray: when it is opened or read: a checksum, the shape or the file's structure does not fit.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, path: Path) -> "StoredArray":
        """As the file says itself; where a record says what it must be, make one from that instead."""
        opened = _open(path)
        return cls(path, _turned(opened.shape), np.dtype(opened.dtype))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, index: Any) -> np.ndarray:
        whole, picked = _region(index, self.shape)
        stored = _reversed(whole)
        self._check(stored)
        try:
            read = np.asarray(self._opened[stored])
        except Exception as error:
            raise self._damaged() from error
        return np.asarray(_turn(read)[picked])

    def check(self) -> None:
        """Read everything once; raise `DamagedArray` unless it is what was written."""
        self._check(tuple(slice(0, n) for n in _turned(self.shape)))

    @cached_property
    def content(self) -> str:
        """`content_digest` of what is stored, as put down with it; of an array without, all is read."""
        kept = self._opened.schunk.vlmeta
        return str(kept[_CONTENT]) if _CONTENT in kept else content_digest(self)

    def __reduce__(self) -> tuple[Any, ...]:  # open files do not travel to workers; paths do
        return StoredArray, (self.path, self.shape, self.dtype)

    @cached_property
    def _opened(self) -> Any:
        opened = _open(self.path)
        if _turned(opened.shape) != self.shape or np.dtype(opened.dtype) != self.dtype:
            raise self._damaged()
        return opened

    @cached_property
    def _checksums(self) -> np.ndarray:
        opened = self._opened
        try:
            sums = np.frombuffer(opened.schunk.vlmeta[_CRC], dtype="<u4")
            same = opened.schunk.vlmeta[_KIND] == _kind(opened)
        except Exception as error:
            raise self._damaged() from error
        # The header is not below any checksum: a wrong one shows in that it contradicts the rest.
        if not same or not len(sums) == opened.schunk.nchunks == prod(_chunk_grid(opened.shape, opened.chunks)):
            raise self._damaged()
        return sums

    @cached_property
    def _checked(self) -> np.ndarray:
        return np.zeros(len(self._checksums), dtype=bool)

    def _check(self, region: tuple[slice, ...]) -> None:
        checked = self._checked
        for number in _chunks_of(region, self._opened.shape, self._opened.chunks):
            if checked[number]:
                continue
            try:
                found = zlib.crc32(self._opened.schunk.get_chunk(number))
            except Exception as error:
                raise self._damaged() from error
            if found != self._checksums[number]:
                raise self._damaged()
            checked[number] = True

    def _damaged(self) -> DamagedArray:
        return _damage(self.path)


def write_array(path: Path, voxels: Voxels) -> WrittenArray:
    """Write ``(channel, i, j[, k])`` slab by slab, whatever its size; the file is whole when this returns.

    Raises:
        StoreError: the file cannot be written. What reading ``voxels`` raises is passed on.
    """
    shape = _turned(voxels.shape)
    chunks, blocks = _chunk_shapes(shape)
    with _writing():
        storage = _empty(path, shape, np.dtype(voxels.dtype), chunks, blocks)
    digest = _digest_of(voxels)
    with ThreadPoolExecutor(1) as hashing:  # SHA-256 lets go of the interpreter, and costs half as much as the rest
        for region, slab in _slabs(voxels, shape, chunks):
            hashed = hashing.submit(_slab_digest, slab)
            with _writing():
                storage[region] = slab
            digest.update(hashed.result())
    with _writing():
        _finish(path, storage, digest.hexdigest())
    return WrittenArray(path, tuple(voxels.shape), np.dtype(voxels.dtype), digest.hexdigest())


def _empty(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...], blocks: tuple[int, ...]
) -> Any:
    import blosc2

    return blosc2.empty(
        shape,
        dtype=dtype,
        chunks=chunks,
        blocks=blocks,
        cparams={"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.BITSHUFFLE], "nthreads": 1},
        contiguous=True,
        urlpath=str(path),
        mode="w",
    )


def _finish(path: Path, storage: Any, content: str) -> None:
    """The checksums, and all of it on disk."""
    chunk = storage.schunk
    sums = np.array([zlib.crc32(chunk.get_chunk(number)) for number in range(chunk.nchunks)], dtype="<u4")
    chunk.vlmeta[_CRC] = sums.tobytes()
    chunk.vlmeta[_KIND] = _kind(storage)
    chunk.vlmeta[_CONTENT] = content
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    # Blosc2 tells of a full disk by a RuntimeError. It is the fault of no file that is read.
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise StoreError(
            f"voxels cannot be written below the home folder ({type(error).__name__}): make space there, or let it be "
            "written, and run the same again"
        ) from error


def content_digest(voxels: Voxels) -> str:
    """SHA-256 (hex) over dtype, shape and the digests of all slabs: equal content gives equal digests."""
    shape = _turned(voxels.shape)
    chunks, _ = _chunk_shapes(shape)
    digest = _digest_of(voxels)
    for _, slab in _slabs(voxels, shape, chunks):
        digest.update(_slab_digest(slab))
    return digest.hexdigest()


def _digest_of(voxels: Voxels) -> Any:
    return hashlib.sha256(f"{np.dtype(voxels.dtype).str} {tuple(voxels.shape)}".encode())


def _slabs(
    voxels: Voxels, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Regions of whole chunks in stored order, as large as `_SLAB_BYTES` allows, and their voxels, contiguous."""
    sizes = list(chunks)
    for axis in reversed(range(len(shape))):  # only trailing axes, so that chunks come in their order
        grown = [*sizes[:axis], shape[axis], *sizes[axis + 1 :]]
        if prod(grown) * np.dtype(voxels.dtype).itemsize > _SLAB_BYTES:
            break
        sizes = grown
    for region in _tiles(shape, sizes):
        yield region, np.ascontiguousarray(_turn(voxels[_reversed(region)]))


def _slab_digest(slab: np.ndarray) -> bytes:
    return hashlib.sha256(slab.data).digest()


def _tiles(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    starts = itertools.product(*(range(0, n, step) for n, step in zip(shape, sizes, strict=True)))
    for start in starts:
        yield tuple(slice(a, min(a + c, n)) for a, c, n in zip(start, sizes, shape, strict=True))


def _chunk_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and block of an array whose stored shape is ``(channel, [k,] j, i)``."""
    chunk, block = (_CHUNK_3D, _BLOCK_3D) if len(shape) == 4 else (_CHUNK_2D, _BLOCK_2D)
    if len(shape) == 4 and shape[1] < _BLOCK_3D[0]:
        chunk = (shape[1], 256, 256)
    channels = min(shape[0], _CHANNELS_TOGETHER)
    chunks = (channels, *(min(n, edge) for n, edge in zip(shape[1:], chunk, strict=True)))
    blocks = (channels, *(min(n, edge) for n, edge in zip(chunks[1:], block, strict=True)))
    return chunks, blocks


def _kind(opened: Any) -> str:
    return f"{np.dtype(opened.dtype).str} {opened.shape} {opened.chunks} {opened.blocks}"


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], *shape[:0:-1])


def _turn(array: np.ndarray) -> np.ndarray:
    """``(channel, i, j[, k])`` ↔ ``(channel, [k,] j, i)``, without a copy."""
    return array.transpose(0, *range(array.ndim - 1, 0, -1))


def _reversed(region: tuple[slice, ...]) -> tuple[slice, ...]:
    return (region[0], *region[:0:-1])


def _region(index: Any, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
    """The dense region to read, and what to pick of it: integers drop their axis, steps thin it out."""
    given = index if isinstance(index, tuple) else (index,)
    dots = [place for place, one in enumerate(given) if one is Ellipsis]
    if len(dots) > 1 or len(given) - len(dots) > len(shape):
        raise IndexError(f"expected at most {len(shape)} indices, got {len(given)}")
    at = dots[0] if dots else len(given)
    filled = given[:at] + (slice(None),) * (len(shape) - len(given) + len(dots)) + given[at + 1 :]
    dense: list[slice] = []
    picked: list[Any] = []
    for one, n in zip(filled, shape, strict=True):
        if isinstance(one, slice):
            start, stop, step = one.indices(n)
            if step < 1:
                raise IndexError(f"steps must be above 0, got {step}")
            dense.append(slice(start, max(start, stop)))
            picked.append(slice(None, None, step))
        else:
            place = int(one) + (n if int(one) < 0 else 0)
            if not 0 <= place < n:
                raise IndexError(f"index {one} is outside an axis of {n}")
            dense.append(slice(place, place + 1))
            picked.append(0)
    return tuple(dense), tuple(picked)


def _chunks_of(region: tuple[slice, ...], shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[int]:
    """Numbers of the chunks that ``region`` touches, in C order over the grid of chunks."""
    grid = _chunk_grid(shape, chunks)
    spans = [range(one.start // c, -(-one.stop // c)) for one, c in zip(region, chunks, strict=True)]
    if any(one.stop <= one.start for one in region):
        return
    strides = [prod(grid[axis + 1 :]) for axis in range(len(grid))]
    for place in itertools.product(*spans):
        yield sum(one * stride for one, stride in zip(place, strides, strict=True))


def _chunk_grid(shape: tuple[int, ...], chunks: tuple[int, ...]) -> list[int]:
    return [-(-n // c) for n, c in zip(shape, chunks, strict=True)]


def _damage(path: Path) -> DamagedArray:
    """The error, after a mark was left beside the file: the next ingest builds the entry anew."""
    with contextlib.suppress(OSError):
        path.with_name(DAMAGED).touch()
    return DamagedArray(f"stored voxels of {path.parent.name} are damaged; ingest their archive again to rebuild them")


def _open(path: Path) -> Any:
    import blosc2

    try:
        opened = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
    except FileNotFoundError:
        raise
    except Exception as error:
        raise _damage(path) from error
    if not isinstance(opened, blosc2.NDArray):
        raise _damage(path)
    return opened
