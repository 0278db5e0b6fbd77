"""Outlines of detections as pixels: filled row by row for all objects at once, without a loop over objects."""

import numpy as np

from pipeline.detections.detection import Detections
from pipeline.types import Corners, LabelMap, Points


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
    owner, _, start, stop = _runs(outlines, shape)
    return np.bincount(owner, weights=stop - start, minlength=len(outlines)).astype(np.int64)


def pixel_at(middles: Points, shape: tuple[int, ...]) -> np.ndarray:
    """C-order position of the pixel that each point ``(n, 2)`` is in, or of the nearest one of the lattice."""
    place = np.clip(np.floor(middles + 0.5).astype(np.int64), 0, np.array(shape) - 1)
    return np.asarray(place[:, 0] * shape[1] + place[:, 1])


def label_map(detections: Detections, rows: range | None = None) -> LabelMap:
    """``(i, j)`` int32: 0 where nothing was detected, ``n + 1`` where detection ``n`` is, highest score first.

    A pixel in several outlines goes to the highest score. An outline too small to hold a pixel's centre takes the pixel
    that its box's centre is in, unless another has it. With ``rows`` the map has only these, along ``j``.
    """
    assert detections.outlines is not None, "a label map needs outlines"
    whole = detections.boxes.grid.shape
    rows = rows or range(whole[1])
    shape, shift = (whole[0], len(rows)), np.array([0, rows.start])
    held = areas(detections.outlines, whole)
    near = np.flatnonzero((held > 0) & _touches(detections.outlines, rows))
    voxel, owner = filled(detections.outlines[near] - shift, shape)
    empty = np.flatnonzero(held == 0)
    i, j = np.unravel_index(pixel_at(detections.boxes.centres[empty], whole), whole)
    here = (j >= rows.start) & (j < rows.stop)
    # Whole outlines first, then the empty ones; of equals the one with the higher score.
    voxel = np.concatenate([voxel, i[here] * shape[1] + j[here] - rows.start])
    rank = np.concatenate([near[owner], empty[here] + len(detections)])
    order = np.lexsort((rank, voxel))
    first = np.unique(voxel[order], return_index=True)[1]
    labels = np.zeros(shape, dtype=np.int32)
    taken = order[first]
    labels.reshape(-1)[voxel[taken]] = rank[taken] % max(len(detections), 1) + 1
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
