"""Of candidates that mean the same object, keep the one with the highest score. In N dimensions, without a loop
over boxes."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from pipeline.detections.outlines import areas, filled, pixel_at
from pipeline.inference.neighbours import neighbours
from pipeline.types import Corners, Edges, Points, Scores

# Edge of the squares of a picture in which masks are compared.
_SQUARE = 4096


def suppress(lower: Points, upper: Points, scores: Scores, iou: float, distance: float = 0.0) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        lower: ``(n, d)`` box edges.
        upper: ``(n, d)`` box edges.
        scores: ``(n,)``; of equal scores the earlier wins.
        iou: of two boxes that share more, the lower score goes.
        distance: of two centres nearer than this (same unit as the boxes), the lower score goes.

    Returns:
        Indices of the survivors, highest score first: the same as the classic loop over sorted boxes gives.
    """
    order = np.argsort(-scores, kind="stable")
    return order[_survivors(len(order), *_conflicts(lower[order], upper[order], iou, distance))]


def suppress_outlines(
    outlines: Corners, shape: tuple[int, ...], scores: Scores, iou: float, spacing: Edges, distance: float = 0.0
) -> np.ndarray:
    """`suppress` by the overlap of star-convex masks: exact on the pixels of the image.

    Args:
        outlines: ``(n, vertices, 2)`` polygons in voxel indices of the image.
        shape: of the image; what lies beyond it does not count.
        scores: as in `suppress`.
        iou: as in `suppress`, of masks.
        spacing: of the image's voxels, the unit of ``distance``.
        distance: as in `suppress`, between the middles of the polygons' bounds.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_ = outlines[order]
    better, worse = _overlapping(sorted_, shape, iou)
    if distance > 0:
        middle = (sorted_.min(axis=1) + sorted_.max(axis=1)) / 2 * spacing
        near = np.sort(cKDTree(middle).query_pairs(np.nextafter(distance, 0), output_type="ndarray"), axis=1)
        better, worse = np.concatenate([better, near[:, 0]]), np.concatenate([worse, near[:, 1]])
    return order[_survivors(len(order), better, worse)]


def _overlapping(outlines: Corners, shape: tuple[int, ...], iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ``(better, worse)`` of masks that share more than ``iou``; inputs are sorted, best first.

    An outline too small to hold a pixel's centre has the pixel that its middle is in, as in a label map: seen by two
    windows it is one object. Of a large picture one square after the other is filled: memory does not grow with it.
    """
    held = areas(outlines, shape)
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    empty = np.flatnonzero(held == 0)
    place = np.stack(np.unravel_index(pixel_at((low[empty] + high[empty]) / 2, shape), shape), axis=1)
    low[empty] = high[empty] = place
    size = np.maximum(held, 1)
    better, worse = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for members in _squares((low + high) / 2, shape):
        first, last = _reach(low[members], high[members], shape)
        near = np.flatnonzero(((high >= first) & (low <= last)).all(axis=1))
        one, other, shared = _shared(outlines[near], held[near] == 0, low[near], first, last)
        one, other = near[one], near[other]
        clash = shared > iou * (size[one] + size[other] - shared)
        clash &= (one < other) & np.isin(one, members)  # each pair belongs to the square of its better one
        better.append(one[clash])
        worse.append(other[clash])
    return np.concatenate(better), np.concatenate(worse)


def _squares(middle: Points, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Indices of what has its middle in the same square of the picture."""
    place = np.clip(middle, 0, np.array(shape) - 1).astype(np.int64) // _SQUARE
    key = place[:, 0] * (shape[1] // _SQUARE + 1) + place[:, 1]
    order = np.argsort(key, kind="stable")
    yield from (part for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(part))


def _reach(low: Points, high: Points, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel ``(2,)`` that any of some outlines may hold, with their bounds."""
    if max(shape) <= _SQUARE:
        return np.zeros(2, np.int64), np.array(shape) - 1
    first = np.clip(np.floor(low.min(axis=0)) - 1, 0, np.array(shape) - 1).astype(np.int64)
    last = np.clip(np.ceil(high.max(axis=0)) + 1, 0, np.array(shape) - 1).astype(np.int64)
    return first, last


def _shared(
    outlines: Corners, empty: np.ndarray, low: Points, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of masks and how many pixels of ``first`` … ``last`` they share; an ``empty`` one has the pixel ``low``."""
    region = tuple(int(n) for n in last - first + 1)
    whole, alone = np.flatnonzero(~empty), np.flatnonzero(empty)
    voxel, owner = filled(outlines[whole] - first, region)
    place = (low[alone] - first).astype(np.int64)
    voxel = np.concatenate([voxel, np.ravel_multi_index((place[:, 0], place[:, 1]), region)])
    owner = np.concatenate([whole[owner], alone])
    table = csr_array((np.ones(len(voxel), np.int32), (owner, voxel)), shape=(len(outlines), int(np.prod(region))))
    shared = (table @ table.T).tocoo()
    return shared.row, shared.col, shared.data


def _survivors(count: int, better: np.ndarray, worse: np.ndarray) -> np.ndarray:
    """Which of ``count`` candidates, best first, stay: bool ``(count,)``. Of each pair only one can."""
    kept = np.zeros(count, dtype=bool)
    open_ = np.ones(count, dtype=bool)
    while open_.any():
        # A box with no better open rival is certain to stay; its worse rivals are certain to go.
        threatened = np.zeros(count, dtype=bool)
        threatened[worse[open_[better]]] = True
        safe = open_ & ~threatened
        kept |= safe
        open_ &= ~safe
        open_[worse[safe[better]]] = False
    return kept


def _conflicts(lower: Points, upper: Points, iou: float, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ``(better, worse)`` of indices that cannot both stay; inputs are sorted, best first."""
    if len(lower) < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    # Boxes near each other come to lie near each other in memory, for the sake of the processor's cache.
    order = np.lexsort(np.floor(((lower + upper) / 2) / np.maximum(np.median(upper - lower, axis=0), 1e-9)).T)
    lower, upper = lower[order], upper[order]
    size = np.maximum(upper - lower, 1e-9)
    volume = size.prod(axis=1)
    centre = (lower + upper) / 2
    sides = [(np.ascontiguousarray(low), np.ascontiguousarray(up)) for low, up in zip(lower.T, upper.T, strict=True)]
    found = [np.zeros((2, 0), dtype=np.int64)]
    for first, second in neighbours(centre, size, iou, distance):
        inner = np.ones(len(first))
        for low, up in sides:
            shared = np.minimum(up[first], up[second])
            shared -= np.maximum(low[first], low[second])
            inner *= np.maximum(shared, 0, out=shared)
        clash = inner > iou * (volume[first] + volume[second] - inner)
        if distance > 0:
            clash |= np.linalg.norm(centre[first] - centre[second], axis=1) < distance
        clash = np.flatnonzero(clash)
        found.append(np.stack([first[clash], second[clash]]))
    pairs = order[np.concatenate(found, axis=1)]
    return pairs.min(axis=0), pairs.max(axis=0)
