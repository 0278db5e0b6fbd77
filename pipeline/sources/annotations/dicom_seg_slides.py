"""Objects of a segmentation of a whole slide, tile by tile: their boxes, without a raster of the slide in memory.

In each tile 8-connected pieces are found; pieces of neighbouring tiles that touch, corners included, are then one.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.errors import AnnotationError

# (position of the segment, index (i, j) of the tile's first pixel, mask (i, j))
Tile = tuple[int, tuple[int, int], np.ndarray]
_Key = tuple[int, int, int]


class _Pieces:
    """Pieces with bounds ``[lower, upper)`` in pixels; `find` gives the piece that stands for all it is joined to."""

    def __init__(self) -> None:
        self.segment: list[int] = []
        self.bounds: list[tuple[int, int, int, int]] = []
        self._parent: list[int] = []

    def add(self, segment: int, bounds: tuple[int, int, int, int]) -> int:
        self.segment.append(segment)
        self.bounds.append(bounds)
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def find(self, piece: int) -> int:
        while self._parent[piece] != piece:
            self._parent[piece] = self._parent[self._parent[piece]]
            piece = self._parent[piece]
        return piece

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first


def objects_of_tiles(
    tiles: Iterable[Tile], size: tuple[int, int], whole: frozenset[int]
) -> list[tuple[int, np.ndarray]]:
    """The objects as ``(position of their segment, box)``.

    Args:
        tiles: each covers its own place of a raster of tiles of ``size``; at a slide's edge it may be smaller.
        size: of a tile, ``(i, j)`` pixels.
        whole: segments that are one object, however many pieces they have.

    Returns:
        Boxes ``(2, 2)``: lower and upper corner in pixels from the outer edge of the first pixel.

    Raises:
        AnnotationError: tiles that do not lie on one raster.
    """
    pieces = _Pieces()
    borders: dict[_Key, dict[str, np.ndarray]] = {}
    for position, (left, top), mask in tiles:
        if left % size[0] or top % size[1]:
            raise AnnotationError(f"a tile starts at pixel {(left, top)}, which is no multiple of {size}")
        numbers = _label(pieces, position, (left, top), mask)
        if numbers is not None:
            borders[position, left // size[0], top // size[1]] = _border(numbers)
    for key in borders:
        _join_neighbours(pieces, borders, key)
    found: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for piece, (segment, bounds) in enumerate(zip(pieces.segment, pieces.bounds, strict=True)):
        found.setdefault((segment, -1 if segment in whole else pieces.find(piece)), []).append(bounds)
    return [(segment, _union(bounds)) for (segment, _), bounds in found.items()]


def _label(pieces: _Pieces, position: int, corner: tuple[int, int], mask: np.ndarray) -> np.ndarray | None:
    """The number of the piece at each pixel, -1 for none; `None` where the mask is empty."""
    from scipy import ndimage

    labelled, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return None
    numbers = np.full(count + 1, -1)
    for value, (i, j) in enumerate(ndimage.find_objects(labelled), start=1):
        bounds = (corner[0] + i.start, corner[1] + j.start, corner[0] + i.stop, corner[1] + j.stop)
        numbers[value] = pieces.add(position, bounds)
    return numbers[labelled]


def _border(numbers: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "left": numbers[0].copy(),
        "right": numbers[-1].copy(),
        "top": numbers[:, 0].copy(),
        "bottom": numbers[:, -1].copy(),
    }


def _join_neighbours(pieces: _Pieces, borders: dict[_Key, dict[str, np.ndarray]], key: _Key) -> None:
    position, column, row = key
    own = borders[key]
    if (right := borders.get((position, column + 1, row))) is not None:
        _join_lines(pieces, own["right"], right["left"])
    if (below := borders.get((position, column, row + 1))) is not None:
        _join_lines(pieces, own["bottom"], below["top"])
    if (across := borders.get((position, column + 1, row + 1))) is not None:
        _join_lines(pieces, own["bottom"][-1:], across["top"][:1])
    if (across := borders.get((position, column - 1, row + 1))) is not None:
        _join_lines(pieces, own["bottom"][:1], across["top"][-1:])


def _join_lines(pieces: _Pieces, one: np.ndarray, other: np.ndarray) -> None:
    """Join pieces that touch across two lines of pixels that lie side by side."""
    count = min(len(one), len(other))
    one, other = one[:count], other[:count]
    pairs = np.concatenate(
        [
            np.column_stack([one, other]),
            np.column_stack([one[1:], other[:-1]]),
            np.column_stack([one[:-1], other[1:]]),
        ]
    )
    for first, second in np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0).tolist():
        pieces.join(first, second)


def _union(bounds: list[tuple[int, int, int, int]]) -> np.ndarray:
    values = np.array(bounds, dtype=np.float64)
    return np.stack([values[:, :2].min(axis=0), values[:, 2:].max(axis=0)])
