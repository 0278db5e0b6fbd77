"""Voxels that are read from a stream in the background, while those that came already are used.

Inflating, hashing and compressing release Python's lock, so that a volume is digested and stored while it is still
being inflated. A file of many volumes holds one of them in memory at a time.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from pipeline.errors import SourceError

_PIECE = 4 << 20
_TELL_BYTES = 1 << 20


class Stream(Protocol):
    def read(self, size: int) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Encoding:
    """How the voxels of one volume are stored, and what they mean.

    ``shape`` is ``(channel, i, j, k)``, of which ``i`` varies fastest on disk; ``interleaved`` puts a voxel's channels
    side by side before that. ``opaque_alpha`` drops the last channel, which must be opaque throughout.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    slope: float = 1.0
    intercept: float = 0.0
    interleaved: bool = False
    opaque_alpha: bool = False

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @property
    def scaled(self) -> bool:
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def given_dtype(self) -> np.dtype:
        """float32 where values are scaled or stored as float64, else as stored, in native byte order."""
        real = self.scaled or self.dtype == np.float64 or self.dtype == np.float16
        return np.dtype(np.float32) if real else self.dtype.newbyteorder("=")

    def array(self, buffer: np.ndarray) -> np.ndarray:
        """The bytes of a volume as ``(channel, i, j, k)``, a view."""
        stored = buffer.view(self.dtype)
        if self.interleaved:
            return stored.reshape(self.shape, order="F")
        return np.moveaxis(stored.reshape((*self.shape[1:], self.shape[0]), order="F"), -1, 0)

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Stored numbers → values of `given_dtype`.

        Raises:
            SourceError: some are not finite, or too large for float32.
        """
        if self.scaled:
            with np.errstate(over="ignore", invalid="ignore"):
                real = (stored * np.float64(self.slope) + self.intercept).astype(np.float32)
            return _finite(real)
        if self.dtype.kind != "f":
            return stored.astype(self.given_dtype, order="K", copy=False)
        with np.errstate(over="ignore"):
            return _finite(stored.astype(self.given_dtype, order="K", copy=False))


class Volumes:
    """Volumes of one encoding that follow each other in a stream, given in any order; cheapest in their own.

    Args:
        encoding: of each volume.
        count: how many there are.
        begin: opens the stream at the first voxel of the first volume.
        end: called with the stream behind the last voxel of the last volume; checks what follows.
    """

    def __init__(
        self, encoding: Encoding, count: int, begin: Callable[[], Stream], end: Callable[[Stream], None]
    ) -> None:
        self.encoding = encoding
        self.count = count
        self._begin = begin
        self._end = end
        self._stream: Stream | None = None
        self._next = 0
        self._current: tuple[int, _Arriving] | None = None

    def volume(self, number: int) -> "_Arriving":
        """Volume ``number``, from 0; the one before it is let go."""
        if self._current is not None and self._current[0] == number:
            return self._current[1]
        if self._current is not None:
            self._current[1].finish()
            self._current = None
        if self._stream is None or number < self._next:
            self._open()
        while self._next < number:
            self._read().finish()
        arriving = self._read()
        self._current = (number, arriving)
        return arriving

    def _open(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = self._begin()
        self._next = 0

    def _read(self) -> "_Arriving":
        assert self._stream is not None
        self._next += 1
        last = self._next == self.count
        return _Arriving(self.encoding, self._stream, self._end if last else None)


@dataclass(frozen=True, eq=False)
class StreamedImage:
    """One of the volumes as an image ``(channel, i, j, k)``, read when its voxels are asked for.

    Any index of numpy's; a region waits only until its last slice has come.

    Raises:
        SourceError: when voxels are asked for: the stream is damaged or cut, or values are not finite.
    """

    volumes: Volumes
    number: int

    @property
    def shape(self) -> tuple[int, ...]:
        channels, *space = self.volumes.encoding.shape
        return (channels - self.volumes.encoding.opaque_alpha, *space)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.volumes.encoding.given_dtype

    @property
    def ndim(self) -> int:
        return 4

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, region: Any) -> np.ndarray:
        encoding = self.volumes.encoding
        array = self.volumes.volume(self.number).until(_last_slice(region))
        if encoding.opaque_alpha:
            _check_opaque(array[-1][region[1:]] if isinstance(region, tuple) else array[-1])
            array = array[:-1]
        return encoding.values(array[region])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


class _Arriving:
    """One volume's bytes as a background thread reads them."""

    def __init__(self, encoding: Encoding, stream: Stream, end: Callable[[Stream], None] | None) -> None:
        self._encoding = encoding
        self._stream = stream
        self._end = end
        self._buffer = np.empty(encoding.nbytes, np.uint8)
        self._come = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="voxels", daemon=True)
        self._thread.start()

    def until(self, slices: int | None) -> np.ndarray:
        """The stored array, of which at least the first ``slices`` slices (`None`: all) have come."""
        _, *space = self._encoding.shape
        slab = self._encoding.nbytes // space[2]
        in_order = self._encoding.interleaved or self._encoding.shape[0] == 1
        need = self._encoding.nbytes if slices is None or not in_order else min(slices, space[2]) * slab
        if need == self._encoding.nbytes:
            self.finish()
        with self._changed:
            self._changed.wait_for(lambda: self._come >= need or self._error is not None)
        if self._error is not None:
            raise self._error
        return self._encoding.array(self._buffer)

    def finish(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        try:
            view = self._buffer.data
            at = told = 0
            while at < len(view):
                piece = self._stream.read(min(_PIECE, len(view) - at))
                if not piece:
                    raise SourceError(f"voxel data are cut: {len(view)} bytes are needed, {at} are there")
                view[at : at + len(piece)] = piece
                at += len(piece)
                if at - told >= _TELL_BYTES or at == len(view):
                    self._tell(at)
                    told = at
            if self._end is not None:
                self._end(self._stream)
        except (EOFError, OSError) as error:
            self._fail(SourceError("the voxel data are damaged or cut"), error)
        except BaseException as error:
            self._fail(error, None)

    def _tell(self, come: int) -> None:
        with self._changed:
            self._come = come
            self._changed.notify_all()

    def _fail(self, error: BaseException, cause: BaseException | None) -> None:
        error.__cause__ = cause
        with self._changed:
            self._error = error
            self._changed.notify_all()


def _last_slice(region: Any) -> int | None:
    """How many slices a region ``(channel, i, j, k)`` reaches to; `None` where that is not plain."""
    if isinstance(region, tuple) and len(region) == 4 and isinstance(region[3], slice):
        stop = region[3].stop
        return stop if isinstance(stop, int) and stop >= 0 and region[3].step in (None, 1) else None
    return None


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise SourceError(f"{bad} of {values.size} voxels are not finite numbers, or too large for float32")
    return values


def _check_opaque(alpha: np.ndarray) -> None:
    if (alpha != 255).any():
        raise SourceError("the volume has transparent voxels: flatten it first")
