"""Planes → one array, each after its own rescale, read by two threads and held once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import SourceError

_THREADS = 2


@dataclass(frozen=True)
class _Plane:
    """What one plane needs: its own type, and its least and greatest value after the rescale."""

    dtype: np.dtype[Any]
    lowest: int = 0
    highest: int = 0


def stack_planes(read: Callable[[int], np.ndarray], scales: Sequence[tuple[float, float]]) -> np.ndarray:
    """``(k, row, column)`` or ``(k, row, column, 3)``: stored value · slope + intercept of each plane.

    The type is the planes' own where nothing is added; where every slope is 1 and every intercept whole, the smallest
    of int16, int32 and int64 that holds all values; else float32.

    Args:
        read: gives plane ``k``, ``(row, column)`` or ``(row, column, 3)``; called in threads, and twice for planes
            that turn out to need a larger type than the first.
        scales: ``(slope, intercept)`` of each plane.

    Raises:
        SourceError: planes of several shapes, or what ``read`` raises for the first plane that it cannot read.
    """
    first = read(0)
    dtype = _first_type(first, scales)
    volume = np.empty((len(scales), *first.shape), dtype)
    planes = [_place(first, scales[0], volume, 0)]

    def place(k: int) -> _Plane:
        return _place(read(k), scales[k], volume, k)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="planes") as threads:
        planes += threads.map(place, range(1, len(scales)))
    needed = _type(planes, dtype, scales)
    return volume if needed == dtype else _widened(volume, needed, planes, read, scales)


def _first_type(first: np.ndarray, scales: Sequence[tuple[float, float]]) -> np.dtype[Any]:
    if any(slope != 1 or intercept != int(intercept) for slope, intercept in scales):
        return np.dtype(np.float32)
    return np.dtype(np.int16) if any(intercept for _, intercept in scales) else first.dtype


def _type(planes: Sequence[_Plane], first: np.dtype[Any], scales: Sequence[tuple[float, float]]) -> np.dtype[Any]:
    if first.kind == "f":
        return first
    if not any(intercept for _, intercept in scales):
        return np.result_type(*{plane.dtype for plane in planes})
    lowest, highest = min(plane.lowest for plane in planes), max(plane.highest for plane in planes)
    return np.dtype(next(kind for kind in (np.int16, np.int32, np.int64) if _holds(np.dtype(kind), lowest, highest)))


def _place(plane: np.ndarray, scale: tuple[float, float], volume: np.ndarray, k: int) -> _Plane:
    """Write plane ``k`` unless the volume's type cannot hold it."""
    if plane.shape != volume.shape[1:]:
        raise SourceError("grey and colour slices are mixed in one stack")
    slope, intercept = scale
    if volume.dtype.kind == "f":
        volume[k] = plane * slope + intercept
        return _Plane(plane.dtype)
    offset = int(intercept)
    found = _Plane(plane.dtype, int(plane.min()) + offset, int(plane.max()) + offset)
    if _holds(volume.dtype, found.lowest, found.highest):
        _add(plane, offset, volume[k])
    return found


def _add(plane: np.ndarray, offset: int, out: np.ndarray) -> None:
    if not offset:
        out[:] = plane
    elif _holds(out.dtype, offset, offset):
        # Sums wrap around in the end as they did in between, so a plane of another sign comes out right.
        np.add(plane, offset, out=out, dtype=out.dtype, casting="unsafe")
    else:
        out[:] = plane.astype(np.int64) + offset


def _holds(dtype: np.dtype[Any], lowest: int, highest: int) -> bool:
    return bool(np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max)


def _widened(
    volume: np.ndarray,
    dtype: np.dtype[Any],
    planes: Sequence[_Plane],
    read: Callable[[int], np.ndarray],
    scales: Sequence[tuple[float, float]],
) -> np.ndarray:
    wide = np.empty(volume.shape, dtype)
    for k, plane in enumerate(planes):
        if _holds(volume.dtype, plane.lowest, plane.highest):
            wide[k] = volume[k]
        else:
            _place(read(k), scales[k], wide, k)
    return wide
