"""Of candidates that mean the same object, keep the one with the highest score. In N dimensions, without a loop
over boxes."""

import numpy as np
from scipy.spatial import cKDTree

from pipeline.types import Points, Scores


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
    better, worse = _conflicts(lower[order], upper[order], iou, distance)
    kept = np.zeros(len(order), dtype=bool)
    open_ = np.ones(len(order), dtype=bool)
    while open_.any():
        # A box with no better open rival is certain to stay; its worse rivals are certain to go.
        threatened = np.zeros(len(order), dtype=bool)
        threatened[worse[open_[better]]] = True
        safe = open_ & ~threatened
        kept |= safe
        open_ &= ~safe
        open_[worse[safe[better]]] = False
    return order[kept]


def _conflicts(lower: Points, upper: Points, iou: float, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ``(better, worse)`` of indices that cannot both stay; inputs are sorted, best first."""
    if len(lower) < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    centre = (lower + upper) / 2
    size = np.maximum(upper - lower, 1e-9)
    pairs = _neighbours(centre, size, distance)
    first, second = pairs[:, 0], pairs[:, 1]
    shared = np.clip(np.minimum(upper[first], upper[second]) - np.maximum(lower[first], lower[second]), 0, None)
    inner = shared.prod(axis=1)
    volume = size.prod(axis=1)
    clash = inner > iou * (volume[first] + volume[second] - inner)
    if distance > 0:
        clash |= np.linalg.norm(centre[first] - centre[second], axis=1) < distance
    return first[clash], second[clash]


def _neighbours(centre: Points, size: Points, distance: float) -> np.ndarray:
    """Pairs ``(m, 2)``, first < second, that may overlap or be too near.

    Overlapping boxes have centres within half the sum of their edges along every axis. Boxes are searched in classes
    of like size, so that one giant does not make a neighbour of everything.
    """
    reach = size.max(axis=1)
    level = np.floor(np.log2(reach / reach.min())).astype(int)
    found = []
    members = {int(n): np.flatnonzero(level == n) for n in np.unique(level)}
    trees = {n: cKDTree(centre[index]) for n, index in members.items()}
    for n, index in members.items():
        for m, other in members.items():
            if m < n:
                continue
            radius = max((reach[index].max() + reach[other].max()) / 2, distance)
            if m == n:
                pairs = trees[n].query_pairs(radius, p=np.inf, output_type="ndarray")
                found.append(np.stack([index[pairs[:, 0]], index[pairs[:, 1]]], axis=1))
                continue
            near = trees[n].query_ball_tree(trees[m], radius, p=np.inf)
            found += [
                np.stack([np.full(len(hits), index[k]), other[hits]], axis=1) for k, hits in enumerate(near) if hits
            ]
    pairs = np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)
    return np.sort(pairs.astype(np.int64), axis=1)
