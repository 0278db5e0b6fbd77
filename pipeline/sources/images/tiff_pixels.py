"""Pixels of a TIFF page by region, segment (tile or strip) by segment, and what they mean."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.scan import VOLUME_BYTES

_CACHE_BYTES = 256 << 20
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK, _YCBCR = 0, 1, 2, 3, 4, 6
_JPEGS = (6, 7, 33003, 33005, 34892)  # JPEG and Aperio's JPEG 2000: their decoder gives RGB
_ALPHA = (1, 2)
_MOST_PAGES = 1_000_000


@dataclass(eq=False)
class Pages:
    """Regions of the pages of one series.

    Reads ``(row, column, sample)`` blocks; decoded segments are kept up to a bound, since neighbouring regions share
    them. A segment that the file leaves out is 0, as its makers mean it.
    """

    tiff: Any
    series: Any
    _kept: OrderedDict[tuple[int, int], np.ndarray] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def region(self, page: int, rows: slice, columns: slice) -> np.ndarray:
        """``(row, column, sample)`` of page ``page`` in the series."""
        keyframe = self.series.keyframe
        samples = int(keyframe.samplesperpixel)
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, samples), keyframe.dtype)
        for index in self._segments(rows, columns):
            block, sample, top, left = self._segment(page, index)
            r0, r1 = max(rows.start, top), min(rows.stop, top + block.shape[0])
            c0, c1 = max(columns.start, left), min(columns.stop, left + block.shape[1])
            if r0 >= r1 or c0 >= c1:
                continue
            piece = block[r0 - top : r1 - top, c0 - left : c1 - left]
            wanted = slice(sample, sample + piece.shape[2])
            out[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start, wanted] = piece
        return out

    def _segments(self, rows: slice, columns: slice) -> list[int]:
        """Numbers of the segments that touch the region, of all sample planes."""
        page = self.series.keyframe
        height, width = _segment_shape(page)
        across, down = -(-page.imagewidth // width), -(-page.imagelength // height)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        return [
            (plane * down + row) * across + column
            for plane in range(planes)
            for row in range(rows.start // height, -(-rows.stop // height))
            for column in range(columns.start // width, -(-columns.stop // width))
        ]

    def _segment(self, page: int, index: int) -> tuple[np.ndarray, int, int, int]:
        """``(row, column, sample)`` of one segment, its first sample, row and column."""
        keyframe = self.series.keyframe
        height, width = _segment_shape(keyframe)
        across, down = -(-keyframe.imagewidth // width), -(-keyframe.imagelength // height)
        plane, rest = divmod(index, across * down)
        row, column = divmod(rest, across)
        block = self._kept.get((page, index))
        if block is None:
            block = self._decode(page, index)
            self._kept[page, index] = block
            self._bytes += block.nbytes
            while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
                _, old = self._kept.popitem(last=False)
                self._bytes -= old.nbytes
        return block, plane, row * height, column * width

    def _decode(self, page: int, index: int) -> np.ndarray:
        frame = self.series.pages[page]
        keyframe = self.series.keyframe
        offset, count = frame.dataoffsets[index], frame.databytecounts[index]
        if not count:
            return np.zeros((0, 0, 1), keyframe.dtype)
        handle = self.tiff.filehandle
        handle.seek(offset)
        packed = handle.read(count)  # before `decode` is looked up, which may move the file's position
        try:
            data, _, _ = keyframe.decode(packed, index, jpegtables=frame.jpegtables)
        except (MemoryError, SourceError):
            raise
        except Exception as error:
            raise SourceError(f"a tile of the TIFF cannot be decoded ({type(error).__name__}): damaged") from error
        if data is None:
            return np.zeros((0, 0, 1), keyframe.dtype)
        return np.asarray(data[0])


def _segment_shape(page: Any) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


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


def check_pages(series: Any, file_bytes: int) -> int:
    """How many segments of the series' pages the file leaves out.

    Raises:
        SourceError: pages are in other files or cut, or hold pixels whose meaning is not read.
    """
    missing = 0
    _check_page(series.keyframe)
    rows, columns = _segment_shape(series.keyframe)
    need = rows * columns * int(series.keyframe.samplesperpixel) * series.keyframe.dtype.itemsize
    if need > VOLUME_BYTES:
        raise SourceError(f"a tile of the TIFF needs {need / 2**30:.1f} GiB, more than {VOLUME_BYTES >> 30} GiB")
    for page in series.pages:
        if page is None:
            raise SourceError("part of the TIFF's image lies in other files: save it as one file")
        counts = np.asarray(page.databytecounts, dtype=np.int64)
        ends = np.asarray(page.dataoffsets, dtype=np.int64) + counts
        if (ends > file_bytes).any():
            raise SourceError("the TIFF is cut: pixels lie behind its end")
        missing += int((counts == 0).sum())
    return missing


def _check_page(page: Any) -> None:
    turned = page.tags.get("Orientation")
    if turned is not None and int(turned.value) not in (0, 1):
        raise SourceError(f"TIFF orientation {int(turned.value)} turns the picture: save it upright")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise SourceError(f"expected numbers as pixels, got {page.dtype or 'a type that is not read'}")
    photometric = int(page.photometric)
    known = (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK)
    if photometric not in known and not (photometric == _YCBCR and int(page.compression) in _JPEGS):
        raise SourceError(f"TIFF pixels of photometric interpretation {photometric} are not read: save it as RGB")
    if photometric == _MINISWHITE and page.dtype.kind not in "bu":
        raise SourceError("a TIFF with white as 0 must have unsigned whole numbers")
    if int(getattr(page, "imagedepth", 1)) > 1:
        raise SourceError("a TIFF page with a depth of its own is not read: save its slices as pages")


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the numbers of a page mean: palettes are looked up, opaque alpha is dropped, white 0 is turned around.

    ``indices`` leaves a palette's indices as they are: in a label map they are the labels.
    """

    page: Any
    indices: bool = False

    @property
    def channels(self) -> int:
        return 3 if self._palette else int(self.page.samplesperpixel) - self._alpha

    @property
    def dtype(self) -> np.dtype:
        if self.page.dtype.kind == "b" or self._palette:
            return np.dtype(np.uint8)
        if self.page.dtype.kind == "f":
            return np.dtype(np.float32)
        return np.dtype(self.page.dtype).newbyteorder("=")

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Stored ``(row, column, sample)`` → ``(row, column, channel)``.

        Raises:
            SourceError: transparent pixels, or values that are not finite.
        """
        if self._palette:
            colours = (np.asarray(self.page.colormap) >> 8).astype(np.uint8)  # 16 bits each, (3, value)
            return np.moveaxis(colours[:, stored[:, :, 0]], 0, -1)
        if self._alpha:
            _check_opaque(stored[:, :, -1], self._full)
            stored = stored[:, :, :-1]
        if stored.dtype == bool:
            stored = stored.astype(np.uint8) * 255
        if int(self.page.photometric) == _MINISWHITE:
            stored = (self._full - stored).astype(stored.dtype)
        with np.errstate(over="ignore"):
            values = stored.astype(self.dtype, copy=False)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise SourceError(f"{bad} of {values.size} pixels are not finite numbers, or too large for float32")
        return values

    @property
    def _palette(self) -> bool:
        return int(self.page.photometric) == _PALETTE and not self.indices

    @property
    def _alpha(self) -> bool:
        return any(int(sample) in _ALPHA for sample in self.page.extrasamples)

    @property
    def _full(self) -> int:
        """What stands for white, or for opaque."""
        kind = self.page.dtype.kind
        return 1 if kind == "f" else 255 if kind == "b" else (1 << int(self.page.bitspersample)) - 1


def _check_opaque(alpha: np.ndarray, full: int) -> None:
    if (alpha != full).any():
        raise SourceError("the picture has transparent pixels: flatten it first")
