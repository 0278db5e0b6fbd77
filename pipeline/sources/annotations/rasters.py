"""Polygons on a 2D image → a label map, where no two of them share a pixel.

A pixel belongs to a polygon if its CENTRE lies inside by the even-odd rule; a centre on an edge belongs to the side of
growing ``i`` and ``j`` (``left <= i < right``, ``top <= j < bottom``), so that polygons that share an edge share no
pixel and leave none out between them.
"""

import numpy as np

from pipeline.geometry import Grid
from pipeline.sources.annotations.marks import MarkSet
from pipeline.sources.annotations.place import contours, to_index
from pipeline.types import LabelMap, Points

# Beyond this a picture is a slide, and its outlines are kept as boxes alone.
LARGEST_PIXELS = 1 << 27


def rasterised(marks: MarkSet, grid: Grid, attributes: dict[str, str]) -> tuple[LabelMap | None, str]:
    """The label map ``(i, j)`` with value ``n + 1`` for mark ``n``, or `None` and why there is none.

    There is none where a mark is no polygon, polygons overlap, one holds no pixel's centre, or the image is too large.
    """
    if grid.dims != 2 or not marks.marks or any(mark.kind != "polygon" for mark in marks.marks):
        return None, ""
    if np.prod(grid.shape) > LARGEST_PIXELS:
        return None, "the image is too large for a mask of its outlines"
    label_map = np.zeros(grid.shape, dtype=np.int32)
    for number, mark in enumerate(marks.marks, start=1):
        vertices = to_index(mark.points, marks.frame, grid, attributes)
        first, inside = covered(contours(vertices, mark.rings), grid.shape)
        region = label_map[tuple(slice(low, low + n) for low, n in zip(first, inside.shape, strict=True))]
        if region[inside].any():
            return None, "outlines overlap, so that no mask is kept"
        if not inside.any():
            return None, f"outline {number} holds no pixel's centre, so that no mask is kept"
        region[inside] = number
    return label_map, ""


def covered(rings: list[Points], shape: tuple[int, ...]) -> tuple[tuple[int, int], np.ndarray]:
    """Which pixels have their centre inside: the first one ``(i, j)`` of a window, and bool ``(i, j)`` from there.

    Args:
        rings: closed contours ``(m, 2)`` in continuous pixel indices ``(i, j)``.
        shape: of the image; nothing beyond it is covered.
    """
    vertices = np.concatenate(rings)
    low = np.clip(np.ceil(vertices.min(axis=0)), 0, shape).astype(int)
    high = np.maximum(np.clip(np.ceil(vertices.max(axis=0)), 0, shape).astype(int), low)
    window = np.zeros(high - low, dtype=bool)
    if not window.size:
        return (int(low[0]), int(low[1])), window
    starts = vertices
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    rows = np.arange(low[1], high[1])
    top, bottom = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    crosses = (rows[:, None] >= top) & (rows[:, None] < bottom)
    row, edge = np.nonzero(crosses)
    a, b = starts[edge], ends[edge]
    i = a[:, 0] + (rows[row] - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    # A crossing at i turns inside and outside around for every centre from i on.
    column = np.clip(np.ceil(i) - low[0], 0, len(window)).astype(int)
    turns = np.zeros((len(window) + 1, len(rows)), dtype=np.int64)
    np.add.at(turns, (column, row), 1)
    window[:] = np.cumsum(turns[:-1], axis=0) % 2 == 1
    return (int(low[0]), int(low[1])), window
