"""Which boxes can share enough, or lie near enough, to mean the same object: pairs to look at, found by sorting.

Boxes whose intersection over union exceeds ``t`` overlap by more than ``t`` of the longer edge along EVERY axis: the
intersection is at most either box's volume times the share of its edge that lies in the other. So their centres are,
along each axis, within ``(a + b) / 2 - t max(a, b)`` of each other, ``a`` and ``b`` being their edges. That is tighter
than asking that they touch.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from pipeline.types import Edges, Points

Pairs = tuple[np.ndarray, np.ndarray]

# Pairs looked at in one go: their arrays stay in the processor's cache, and memory does not grow with their number.
_AT_ONCE = 131_072
# Cells are as wide as the reach; along the first axis narrower, as boxes are sorted along it.
_SLOTS = 8
_BITS = 60  # of a cell's number
_ROUNDING = 1 + 1e-9


def neighbours(centre: Points, size: Edges, iou: float, distance: float) -> Iterator[Pairs]:
    """Pairs of indices, each once, some at a time: all that may share more than ``iou`` or be nearer than ``distance``.

    Boxes are compared in classes of like size, so that one giant does not make a neighbour of everything.

    Args:
        centre: ``(n, d)``.
        size: ``(n, d)`` edges, positive.
        iou: 0 … 1.
        distance: in the unit of the boxes.
    """
    longest = size.max(axis=1)
    level = np.floor(np.log2(longest / longest.min()))
    members = [np.flatnonzero(level == n) for n in np.unique(level)]
    largest = [size[index].max(axis=0) for index in members]
    for n, m in itertools.combinations_with_replacement(range(len(members)), 2):
        apart = longest[members[n]].max() < iou * longest[members[m]].min()  # too unlike to share that much
        if apart and distance == 0:
            continue
        overlapping = np.zeros(centre.shape[1]) if apart else _reach(largest[n], largest[m], iou)
        reach = np.maximum(overlapping, distance) * _ROUNDING
        if n == m:
            yield from _within(centre, members[n], reach)
        else:
            few, many = sorted((members[n], members[m]), key=len)
            yield from _between(centre, few, many, reach)


def _reach(one: Edges, other: Edges, iou: float) -> np.ndarray:
    """How far apart along each axis ``(d,)`` centres may be, of boxes with edges of at most ``one`` and ``other``."""
    if iou > 0.5:  # the bound is then highest where both are like the smaller
        return (1 - iou) * np.minimum(one, other)
    return (one + other) / 2 - iou * np.maximum(one, other)


def _within(centre: Points, index: np.ndarray, reach: np.ndarray) -> Iterator[Pairs]:
    """Pairs of one class: of each box with those that follow it in its own row of cells and in rows on one side."""
    cells = _Cells(centre[index], reach)
    key, points, index = cells.sorted(centre, index)
    for shift in cells.shifts:
        if shift >= 0:
            first = np.searchsorted(key, key + shift - cells.slots, "left")
            last = np.searchsorted(key, key + shift + cells.slots, "right")
            first = np.arange(len(key)) + 1 if shift == 0 else first
            for one, other in _expanded(points, points, first, last, reach):
                yield index[one], index[other]


def _between(centre: Points, few: np.ndarray, many: np.ndarray, reach: np.ndarray) -> Iterator[Pairs]:
    """Pairs of two classes: for each of the few, those of the many in its own row of cells and in all around it."""
    cells = _Cells(centre[np.concatenate([few, many])], reach)
    asking, points, few = cells.sorted(centre, few)
    key, others, many = cells.sorted(centre, many)
    for shift in cells.shifts:
        first = np.searchsorted(key, asking + shift - cells.slots, "left")
        last = np.searchsorted(key, asking + shift + cells.slots, "right")
        for one, other in _expanded(points, others, first, last, reach):
            yield few[one], many[other]


class _Cells:
    """A grid of cells over points; their numbers run along the first axis, so that a row of them is one stretch.

    ``slots``: how many cells along a row the reach spans. ``shifts``: what to add to a cell's number for the same place
    in its own row and in those around it.
    """

    def __init__(self, points: Points, reach: np.ndarray) -> None:
        dims = points.shape[1]
        self._low = points.min(axis=0)
        extent = points.max(axis=0) - self._low
        # Cells may be wider than asked for, so that their numbers fit 64 bits: that costs time, and loses no pair.
        least = np.maximum(extent, 1e-12) / 2.0 ** (_BITS // dims - 1)
        self._edge = np.maximum(reach / np.array([_SLOTS] + [1] * (dims - 1)), least)
        self.slots = int(reach[0] / self._edge[0]) + 1
        margin = np.array([self.slots] + [1] * (dims - 1))
        count = np.floor(extent / self._edge).astype(np.int64) + 1 + 2 * margin
        self._margin = margin
        self._factor = np.concatenate([[1], np.cumprod(count)[:-1]])
        steps = itertools.product((-1, 0, 1), repeat=dims - 1)
        self.shifts = [int(np.dot(step, self._factor[1:])) for step in steps]

    def sorted(self, centre: Points, index: np.ndarray) -> tuple[np.ndarray, Points, np.ndarray]:
        """Numbers of the cells of ``centre[index]``, rising; these centres; and their indices in the same order."""
        cell = np.floor((centre[index] - self._low) / self._edge).astype(np.int64) + self._margin
        key = cell @ self._factor
        order = np.argsort(key, kind="stable")
        return key[order], centre[index[order]], index[order]


def _expanded(
    points: Points, others: Points, first: np.ndarray, last: np.ndarray, reach: np.ndarray
) -> Iterator[Pairs]:
    """Pairs of each point with ``others[first:last]`` that lie within reach along every axis."""
    asking = np.flatnonzero(last > first)
    if len(asking) == 0:
        return
    first, count = first[asking], (last - first)[asking]
    end = np.cumsum(count)
    axes = [(np.ascontiguousarray(points[asking, n]), np.ascontiguousarray(others[:, n])) for n in range(len(reach))]
    borders = np.searchsorted(end, np.arange(_AT_ONCE, end[-1], _AT_ONCE))
    for start, stop in itertools.pairwise(np.unique([0, *borders, len(asking)])):
        # The k-th pair of all is the (k - all before)-th of its own point.
        offset = first[start:stop] - end[start:stop] + count[start:stop]
        begin = end[start] - count[start]
        one = np.repeat(np.arange(start, stop), count[start:stop])
        other = np.arange(begin, end[stop - 1]) + np.repeat(offset, count[start:stop])
        # The second axis first: along the first one all are near.
        for limit, (here, there) in zip(np.roll(reach, -1), axes[1:] + axes[:1], strict=True):
            near = np.flatnonzero(np.abs(here[one] - there[other]) <= limit)
            one, other = one[near], other[near]
        yield asking[one], other
