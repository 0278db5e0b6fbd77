"""Outlines of detections as pixels: filled row by row for all objects at once, without a loop over objects."""

from collections.abc import Iterator

import numpy as np

from pipeline.detections.detection import Detections
from pipeline.types import Corners, LabelMap, Points

# Polygons looked at in one go: memory does not grow with their number.
_AT_ONCE = 16_384


def filled(outlines: Corners, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels whose centres lie in closed polygons, by the even-odd rule.

    Args:
        outlines: ``(n, vertices, 2)`` continuous pixel indices of a lattice of ``shape``. Edge rule: a centre exactly
            on an edge is in where the inside follows at higher indices, else out. Beyond ``shape`` there is no pixel.
        shape: ``(i, j)``.

    Returns:
        C-order positions of pixels and the object of each, both ``(v,)``; a pixel of two objects comes twice.
    """
    owner, row, start, stop = _runs(outlines, shape)
    length = stop - start
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return (np.repeat(start, length) + within) * shape[1] + np.repeat(row, length), np.repeat(owner, length)


def areas(outlines: Corners, shape: tuple[int, ...]) -> np.ndarray:
    """How many pixels `filled` gives each polygon, ``(n,)``, without listing them."""
    parts = [outlines[first : first + _AT_ONCE] for first in range(0, len(outlines), _AT_ONCE)]
    return np.concatenate([np.zeros(0, np.int64), *(_areas(part, shape) for part in parts)])


def _areas(outlines: Corners, shape: tuple[int, ...]) -> np.ndarray:
    owner, _, start, stop = _runs(outlines, shape)
    return np.bincount(owner, weights=stop - start, minlength=len(outlines)).astype(np.int64)


def pixel_at(middles: Points, shape: tuple[int, ...]) -> np.ndarray:
    """C-order position of the pixel that each point ``(n, 2)`` is in, or of the nearest one of the lattice."""
    place = np.clip(np.floor(middles + 0.5).astype(np.int64), 0, np.array(shape) - 1)
    return np.asarray(place[:, 0] * shape[1] + place[:, 1])


def label_map(detections: Detections) -> LabelMap:
    """``(i, j)`` int32: 0 where nothing was detected, ``n + 1`` where detection ``n`` is, highest score first.

    A pixel in several outlines goes to the highest score. An outline too small to hold a pixel's centre takes the pixel
    that its box's centre is in, unless another has it.
    """
    (whole,) = label_strips(detections, detections.boxes.grid.shape[1])
    return whole


def label_strips(detections: Detections, rows: int) -> Iterator[LabelMap]:
    """`label_map` in strips of so many rows along ``j``, one after the other; the last may have fewer."""
    assert detections.outlines is not None, "a label map needs outlines"
    shape = detections.boxes.grid.shape
    held = areas(detections.outlines, shape)
    empty = np.flatnonzero(held == 0)
    taken = np.stack(np.unravel_index(pixel_at(detections.boxes.centres[empty], shape), shape))
    for first in range(0, shape[1], rows):
        strip = range(first, min(first + rows, shape[1]))
        near = np.flatnonzero((held > 0) & _touches(detections.outlines, strip))
        here = (taken[1] >= strip.start) & (taken[1] < strip.stop)
        pixels = taken[0, here] * len(strip) + taken[1, here] - first
        yield _strip(detections.outlines[near] - [0, first], near, pixels, empty[here], (shape[0], len(strip)))


def _strip(
    outlines: Corners, near: np.ndarray, pixels: np.ndarray, alone: np.ndarray, shape: tuple[int, int]
) -> LabelMap:
    """Detections ``near`` have ``outlines`` in ``shape``, those ``alone`` a pixel each, at these C-order positions."""
    voxel, owner = filled(outlines, shape)
    number = np.concatenate([near[owner], alone])
    voxel = np.concatenate([voxel, pixels])
    # Whole outlines first, then the empty ones; of equals the one with the higher score.
    order = np.lexsort((number, np.arange(len(number)) >= len(owner), voxel))
    best = order[np.unique(voxel[order], return_index=True)[1]]
    labels = np.zeros(shape, dtype=np.int32)
    labels.reshape(-1)[voxel[best]] = number[best] + 1
    return labels


def _touches(outlines: Corners, rows: range) -> np.ndarray:
    """Which polygons may hold a pixel in ``rows``: bool ``(n,)``."""
    along = outlines[:, :, 1]
    return np.asarray((along.max(axis=1) >= rows.start) & (along.min(axis=1) < rows.stop))


def _runs(outlines: Corners, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stretches of pixels along i inside each polygon: owner, row ``j``, first ``i`` and the one after the last."""
    begin = outlines.reshape(-1, 2)
    end = np.roll(outlines, -1, axis=1).reshape(-1, 2)
    low = np.maximum(np.ceil(np.minimum(begin[:, 1], end[:, 1])), 0).astype(np.int64)
    high = np.minimum(np.ceil(np.maximum(begin[:, 1], end[:, 1])), shape[1]).astype(np.int64)
    rows = np.maximum(high - low, 0)
    edge = np.repeat(np.arange(len(begin)), rows)
    row = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows)
    slope = (end[edge, 0] - begin[edge, 0]) / (end[edge, 1] - begin[edge, 1])
    crossing = begin[edge, 0] + (row - begin[edge, 1]) * slope
    owner = edge // outlines.shape[1]
    order = np.lexsort((crossing, row, owner))  # a closed polygon crosses each row an even number of times
    into, out = order[::2], order[1::2]
    start, stop = (np.clip(np.ceil(crossing[one]), 0, shape[0]).astype(np.int64) for one in (into, out))
    return owner[into], row[into], start, stop
