"""Regions of the pages of a TIFF, decoded segment (tile or strip) by segment."""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.scan import VOLUME_BYTES

_CACHE_BYTES = 256 << 20
_MOST_PAGES = 1_000_000
_HEADER_BYTES = 8
_SEPARATE = 2


@dataclass(frozen=True)
class _Segments:
    """How a page is cut into segments of ``height`` x ``width``: ``across`` x ``down`` of them in each plane."""

    height: int
    width: int
    across: int
    down: int
    planes: int

    @classmethod
    def of(cls, page: Any) -> "_Segments":
        rows, columns = int(page.imagelength), int(page.imagewidth)
        height, width = int(page.tilelength), int(page.tilewidth)
        if not page.is_tiled:
            height, width = min(int(page.rowsperstrip), rows), columns
        if min(rows, columns, height, width) < 1:
            raise SourceError("the TIFF's image, or a tile of it, has no pixels")
        planes = int(page.samplesperpixel) if int(page.planarconfig) == _SEPARATE else 1
        return cls(height, width, -(-columns // width), -(-rows // height), planes)

    @property
    def count(self) -> int:
        return self.planes * self.down * self.across

    def touching(self, rows: slice, columns: slice) -> list[int]:
        """Numbers of the segments of all planes that a region touches."""
        return [
            (plane * self.down + row) * self.across + column
            for plane in range(self.planes)
            for row in range(rows.start // self.height, -(-rows.stop // self.height))
            for column in range(columns.start // self.width, -(-columns.stop // self.width))
        ]

    def place(self, index: int) -> tuple[int, int, int]:
        """Plane, first row and first column of a segment."""
        plane, rest = divmod(index, self.across * self.down)
        row, column = divmod(rest, self.across)
        return plane, row * self.height, column * self.width


@dataclass(eq=False)
class Pages:
    """Regions of the ``count`` pages of one series.

    Decoded segments are kept up to a bound, since neighbouring regions share them. A segment that the file leaves out
    is 0, as its makers mean it. Where only the first page of a stack has a directory (ImageJ's above 4 GiB), the
    others follow it without a gap.
    """

    tiff: Any
    series: Any
    count: int
    _kept: OrderedDict[tuple[int, int], np.ndarray] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def region(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """``(row, column, sample)`` of page ``page`` in the series."""
        keyframe = self.series.keyframe
        out = np.zeros(
            (rows.stop - rows.start, columns.stop - columns.start, int(keyframe.samplesperpixel)), keyframe.dtype
        )
        for index in self._segments.touching(rows, columns):
            block = self._segment(page, index)
            sample, top, left = self._segments.place(index)
            r0, r1 = max(rows.start, top), min(rows.stop, top + block.shape[0])
            c0, c1 = max(columns.start, left), min(columns.stop, left + block.shape[1])
            if r0 >= r1 or c0 >= c1:
                continue
            piece = block[r0 - top : r1 - top, c0 - left : c1 - left]
            wanted = slice(sample, sample + piece.shape[2])
            out[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start, wanted] = piece
        return out

    def check(self) -> int:
        """How many segments the file leaves out.

        Raises:
            SourceError: pages are in other files or cut, or a segment is too large to be decoded.
        """
        keyframe, segments = self.series.keyframe, self._segments
        need = segments.height * segments.width * int(keyframe.samplesperpixel) * keyframe.dtype.itemsize
        if need > VOLUME_BYTES:
            raise SourceError(f"a tile of the TIFF needs {need / 2**30:.1f} GiB, more than {VOLUME_BYTES >> 30} GiB")
        if len(self.series.pages) != self.count and not self._contiguous:
            raise SourceError(f"the TIFF has {len(self.series.pages)} pages, its description needs {self.count}")
        return sum(self._missing(page) for page in self.series.pages)

    def _missing(self, page: Any) -> int:
        if page is None:
            raise SourceError("part of the TIFF's image lies in other files: save it as one file")
        counts = np.asarray(page.databytecounts, dtype=np.int64)
        offsets = np.asarray(page.dataoffsets, dtype=np.int64)
        if len(counts) < self._segments.count or len(offsets) != len(counts):
            raise SourceError(f"the TIFF lists {len(counts)} tiles or strips, a page needs {self._segments.count}")
        more = (self.count - 1) * self.series.keyframe.nbytes if self._contiguous else 0
        if (offsets + counts).max() + more > self.tiff.filehandle.size:
            raise SourceError("the TIFF is cut: pixels lie behind its end")
        if (offsets[counts > 0] < _HEADER_BYTES).any():
            raise SourceError("the TIFF says that pixels lie in its own header: damaged")
        return int((counts == 0).sum())

    @cached_property
    def _segments(self) -> _Segments:
        return _Segments.of(self.series.keyframe)

    @cached_property
    def _contiguous(self) -> bool:
        return len(self.series.pages) == 1 and self.count > 1 and self.series.dataoffset is not None

    def _segment(self, page: int, index: int) -> np.ndarray:
        """``(row, column, sample)``."""
        block = self._kept.get((page, index))
        if block is None:
            block = self._decode(page, index)
            self._kept[page, index] = block
            self._bytes += block.nbytes
            while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.nbytes
        return block

    def _decode(self, page: int, index: int) -> np.ndarray:
        keyframe = self.series.keyframe
        frame = self.series.pages[0 if self._contiguous else page]
        offset, count = frame.dataoffsets[index], frame.databytecounts[index]
        if not count:
            return np.zeros((0, 0, 1), keyframe.dtype)
        handle = self.tiff.filehandle
        handle.seek(offset + (page * keyframe.nbytes if self._contiguous else 0))
        packed = handle.read(count)  # before `decode` is looked up, which may move the file's position
        try:
            data, _, _ = keyframe.decode(packed, index, jpegtables=frame.jpegtables)
        except (MemoryError, SourceError):
            raise
        except Exception as error:
            raise SourceError(f"a tile of the TIFF cannot be decoded ({type(error).__name__}): damaged") from error
        return np.zeros((0, 0, 1), keyframe.dtype) if data is None else np.asarray(data[0])


def check_chain(tiff: Any) -> None:
    """Follow the directories of all pages to the last: a cut file ends in an offset behind its end.

    tifffile takes what comes before for the whole file, with a line in the log.

    Raises:
        SourceError: the chain is cut, or runs in a circle.
    """
    if tiff.is_ndpi:  # its offsets of more than 4 GiB are kept in a way of their own
        return
    handle, form = tiff.filehandle, tiff.tiff
    seen: set[int] = set()
    handle.seek(8 if form.is_bigtiff else 4)
    while offset := _number(handle, form.offsetsize, form.byteorder):
        if offset in seen or len(seen) > _MOST_PAGES:
            raise SourceError("the TIFF's chain of pages has no end")
        seen.add(offset)
        handle.seek(offset)
        count = _number(handle, form.tagnosize, form.byteorder)
        handle.seek(offset + form.tagnosize + count * form.tagsize)


def _number(handle: Any, size: int, order: str) -> int:
    data = handle.read(size)
    if len(data) < size:
        raise SourceError("the TIFF is cut: pages lie behind its end")
    return int.from_bytes(data, "little" if order == "<" else "big")
