"""Of candidates that mean the same object, keep the one with the highest score. In N dimensions, without a loop
over boxes."""

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from pipeline.detections.outlines import filled, pixel_at
from pipeline.inference.neighbours import neighbours
from pipeline.types import Corners, Edges, Points, Scores


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
    windows it is one object.
    """
    voxel, owner = filled(outlines, shape)
    empty = np.setdiff1d(np.arange(len(outlines)), owner)
    middle = (outlines[empty].min(axis=1) + outlines[empty].max(axis=1)) / 2
    voxel, owner = np.concatenate([voxel, pixel_at(middle, shape)]), np.concatenate([owner, empty])
    size = np.bincount(owner, minlength=len(outlines))
    table = csr_array((np.ones(len(voxel), np.int32), (owner, voxel)), shape=(len(outlines), int(np.prod(shape))))
    shared = (table @ table.T).tocoo()
    clash = shared.data > iou * (size[shared.row] + size[shared.col] - shared.data)
    clash &= shared.row < shared.col
    return shared.row[clash], shared.col[clash]


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
