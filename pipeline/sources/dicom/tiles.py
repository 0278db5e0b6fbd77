"""A tiled picture that is decoded where it is looked at: memory is bounded by a row of tiles, not by the picture.

Positions of tiles: DICOM PS3.3 C.7.6.17.3 (TILED_FULL: implied by the frame's number; TILED_SPARSE: stated for each
frame).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.scan import VOLUME_BYTES

# Decoded tiles that are kept: those that were read in part, of two rows at most, and no more bytes than this.
_CACHE_BYTES = 96 << 20

# A frame's number, and the column and row of its first pixel in the whole picture, all from 0.
Tile = tuple[int, int, int]


class Layout(Protocol):
    """Where the tiles of one picture lie. ``size`` is the picture's, ``tile`` each tile's: (columns, rows)."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def tile(self) -> tuple[int, int]: ...
    @property
    def absent(self) -> int:
        """How many pixels no tile covers."""
        ...

    def within(self, columns: range, rows: range) -> Iterator[Tile]:
        """The tiles that touch a region, row by row."""
        ...


@dataclass(frozen=True)
class FullLayout:
    """Tiles without a gap, left to right, then top to bottom; ``first`` is the first one's frame number.

    Tiles of the last column and row may reach beyond the picture.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    first: int = 0
    absent: int = 0

    @property
    def across(self) -> int:
        return -(-self.size[0] // self.tile[0])

    @property
    def count(self) -> int:
        return self.across * -(-self.size[1] // self.tile[1])

    def within(self, columns: range, rows: range) -> Iterator[Tile]:
        width, height = self.tile
        for down in range(rows.start // height, -(-rows.stop // height)):
            for along in range(columns.start // width, -(-columns.stop // width)):
                yield self.first + down * self.across + along, along * width, down * height


@dataclass(frozen=True, eq=False)
class SparseLayout:
    """Tiles at stated places, none over another.

    Raises:
        SourceError: a tile lies outside of the picture, or over another one.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    tiles: Sequence[Tile] = field(repr=False)

    def __post_init__(self) -> None:
        for frame, column, row in self.tiles:
            if not (0 <= column < self.size[0] and 0 <= row < self.size[1]):
                raise SourceError(
                    f"the tile of frame {frame + 1} starts at column {column + 1}, row {row + 1}, outside of the total "
                    f"pixel matrix of {self.size[0]} x {self.size[1]}"
                )
        for frame, column, row in self.tiles:
            near = self.within(range(column, column + self.tile[0]), range(row, row + self.tile[1]))
            for other in near:
                if other[0] != frame:
                    raise _over_each_other(frame, other[0])

    @cached_property
    def absent(self) -> int:
        width, height = self.size
        covered = sum(min(self.tile[0], width - x) * min(self.tile[1], height - y) for _, x, y in self.tiles)
        return width * height - covered

    def within(self, columns: range, rows: range) -> Iterator[Tile]:
        width, height = self.tile
        for down in range(rows.start // height - 1, -(-rows.stop // height)):
            for along in range(columns.start // width - 1, -(-columns.stop // width)):
                tile = self._at.get((along, down))
                if tile and _meet(tile[1], width, columns) and _meet(tile[2], height, rows):
                    yield tile

    @cached_property
    def _at(self) -> dict[tuple[int, int], Tile]:
        """Tiles by where their first pixel lies on a lattice of whole tiles: two at one place would overlap."""
        places: dict[tuple[int, int], Tile] = {}
        for tile in self.tiles:
            first = places.setdefault((tile[1] // self.tile[0], tile[2] // self.tile[1]), tile)
            if first is not tile:
                raise _over_each_other(first[0], tile[0])
        return places


def _meet(start: int, length: int, span: range) -> bool:
    return start < span.stop and start + length > span.start


def _over_each_other(first: int, second: int) -> SourceError:
    return SourceError(f"the tiles of frames {first + 1} and {second + 1} lie over each other")


class TiledImage:
    """A picture ``(channel, i, j)`` of which only the tiles that a region needs are decoded.

    ``image[channels, columns, rows]`` takes slices without a step and gives a fresh array. Reading region by region,
    row by row, decodes each tile once.

    Args:
        layout: where the tiles lie.
        read: a frame's number → ``(row, column)`` or ``(row, column, channel)``; `None` for a tile without content.
        channels: 1 or 3.
        dtype: of every tile.
        fill: one value a channel where no tile lies.
    """

    def __init__(
        self,
        layout: Layout,
        read: Callable[[int], np.ndarray | None],
        channels: int,
        dtype: np.dtype[Any],
        fill: tuple[int, ...],
    ) -> None:
        self.layout = layout
        self.shape = (channels, *layout.size)
        self.dtype = np.dtype(dtype)
        self._read = read
        self._fill = np.array(fill, dtype=self.dtype)
        self._kept: OrderedDict[int, _Tile] = OrderedDict()

    @property
    def ndim(self) -> int:
        return 3

    def __getitem__(self, region: Any) -> np.ndarray:
        channels, columns, rows = self._ranges(region)
        picture = np.empty((self.shape[0], len(rows), len(columns)), dtype=self.dtype)
        picture[:] = self._fill[:, None, None]
        if len(columns) and len(rows):
            for frame, column, row in self.layout.within(columns, rows):
                tile = self._kept.pop(frame, None) or self._decoded(frame, column, row)
                read = _paste(picture, tile.pixels, (column - columns.start, row - rows.start))
                self._keep(frame, replace(tile, unread=tile.unread - read))
        return picture[channels.start : channels.stop].transpose(0, 2, 1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        if size > VOLUME_BYTES:
            raise SourceError(f"the whole picture of {size / 2**30:.1f} GiB does not fit: read it by regions")
        return np.asarray(self[:, :, :], dtype=dtype)

    def _ranges(self, region: Any) -> list[range]:
        given = region if isinstance(region, tuple) else (region,)
        filled = [*given, *[slice(None)] * (3 - len(given))]
        if len(filled) > 3 or not all(isinstance(one, slice) and one.step in (None, 1) for one in filled):
            raise IndexError(f"regions of a tiled picture are up to 3 slices without a step, got {region!r}")
        return [range(*one.indices(n)) for one, n in zip(filled, self.shape, strict=True)]

    def _decoded(self, frame: int, column: int, row: int) -> "_Tile":
        inside = min(self.layout.tile[0], self.shape[1] - column) * min(self.layout.tile[1], self.shape[2] - row)
        read = self._read(frame)
        if read is None:
            return _Tile(None, inside)
        tile = read[None] if read.ndim == 2 else read.transpose(2, 0, 1)
        expected = (self.shape[0], *self.layout.tile[::-1])
        if tile.shape != expected or tile.dtype != self.dtype:
            raise SourceError(
                f"the tile of frame {frame + 1} must be {self.dtype} of shape {expected}, got {tile.dtype} {tile.shape}"
            )
        return _Tile(tile, inside)

    def _keep(self, frame: int, tile: "_Tile") -> None:
        """Keep a tile that was read in part for the neighbouring regions; the longest unused one goes first."""
        if tile.unread > 0:
            self._kept[frame] = tile
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)

    @cached_property
    def _most_kept(self) -> int:
        width, height = self.layout.tile
        rows = 2 * -(-self.layout.size[0] // width)
        return max(1, min(rows, _CACHE_BYTES // (width * height * self.shape[0] * self.dtype.itemsize)))


@dataclass(frozen=True, eq=False)
class _Tile:
    """A decoded tile, ``(channel, row, column)``, and how many of its pixels inside the picture were not read yet."""

    pixels: np.ndarray | None
    unread: int


def _paste(picture: np.ndarray, tile: np.ndarray | None, corner: tuple[int, int]) -> int:
    """Put what of ``tile`` lies inside ``picture``; both ``(channel, row, column)``, ``corner`` (column, row).

    Returns:
        How many pixels lie inside. Of a tile without content there is nothing to put.
    """
    if tile is None:
        return 0
    into, out = [], []
    for start, length, limit in zip(corner[::-1], tile.shape[1:], picture.shape[1:], strict=True):
        low, high = max(start, 0), min(start + length, limit)
        into.append(slice(low, high))
        out.append(slice(low - start, high - start))
    piece = tile[:, out[0], out[1]]
    picture[:, into[0], into[1]] = piece
    return piece.shape[1] * piece.shape[2]
