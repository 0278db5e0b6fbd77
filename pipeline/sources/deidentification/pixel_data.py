"""Where a file's pixel data lie: found, checked for size, and copied without being decoded."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom.dataset import FileDataset
from pydicom.uid import UID

from pipeline.errors import SourceError

_PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN")
_UNDEFINED = 0xFFFFFFFF
_PADDING = 1 << 16
_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
# YBR_FULL_422 holds two bytes a pixel where three samples are declared (PS3.3 C.7.6.3.1.2).
_HALVED = "YBR_FULL_422"


@dataclass(frozen=True)
class PixelData:
    """The element from its tag on: bytes ``start`` … ``end`` of the stream."""

    start: int
    end: int

    def pieces(self, stream: BinaryIO, size: int) -> Iterator[bytes]:
        """The bytes as they are, ``size`` at a time."""
        stream.seek(self.start)
        left = self.end - self.start
        while left:
            piece = stream.read(min(size, left))
            if not piece:
                raise SourceError("the file became shorter while it was read")
            left -= len(piece)
            yield piece


def find_pixel_data(stream: BinaryIO, dataset: FileDataset) -> PixelData | None:
    """The pixel data at which ``stream`` stands; `None` at its end.

    Raises:
        SourceError: cut, or of another size than the image's.
    """
    start = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    if start >= size:
        return None
    stream.seek(start)
    is_implicit, is_little = dataset.original_encoding
    order = "<" if is_little else ">"
    head = stream.read(12)
    if len(head) < 8:
        raise SourceError("the file ends before its pixel data")
    group, element = struct.unpack(f"{order}HH", head[:4])
    if group << 16 | element not in _PIXEL_TAGS:
        raise SourceError("the header cannot be read to its end: damaged or cut")
    begin, length = _length(head, order, bool(is_implicit))
    stated = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if stated and UID(stated).is_compressed != (length == _UNDEFINED):
        raise SourceError("pixel data are not as the transfer syntax says (compressed, or not): damaged")
    if length == _UNDEFINED:
        return PixelData(start, _end_of_items(stream, start + begin, size))
    if start + begin + length > size:
        raise SourceError(f"pixel data declare {length} bytes, {size - start - begin} are there: the file is cut")
    _check_size(stream, dataset, start + begin, length)
    return PixelData(start, start + begin + length)


def _length(head: bytes, order: str, is_implicit: bool) -> tuple[int, int]:
    """Bytes of tag, value representation and length; the length."""
    if is_implicit:
        return 8, struct.unpack(f"{order}L", head[4:8])[0]
    if head[4:6] not in _LONG:
        raise SourceError("pixel data have no value representation of pixels: damaged")
    if len(head) < 12:
        raise SourceError("the file ends before its pixel data")
    return 12, struct.unpack(f"{order}L", head[8:12])[0]


def _end_of_items(stream: BinaryIO, start: int, size: int) -> int:
    """Behind the delimiter of encapsulated frames (PS3.5 A.4); every item is stepped over."""
    place = start
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            raise SourceError("the file ends inside its compressed pixel data")
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return place + 8
        if tag != _ITEM or length == _UNDEFINED or place + 8 + length > size:
            raise SourceError("compressed pixel data are cut or damaged")
        place += 8 + length


def _check_size(stream: BinaryIO, dataset: FileDataset, start: int, length: int) -> None:
    """Bytes beyond the image would be copied unseen; some devices pad with zeros."""
    expected = _expected(dataset)
    if expected is None or length in (expected, expected + expected % 2):
        return
    stream.seek(start + expected)
    if length < expected or length - expected > _PADDING or any(stream.read(length - expected)):
        raise SourceError(f"pixel data hold {length} bytes, the image needs {expected}")


def _expected(dataset: FileDataset) -> int | None:
    """Bytes of native pixel data; `None` for what has no rows and columns."""
    counts: list[Any] = [dataset.get(one) for one in ("Rows", "Columns", "BitsAllocated")]
    if None in counts:
        return None
    counts += [dataset.get("SamplesPerPixel") or 1, dataset.get("NumberOfFrames") or 1]
    try:
        rows, columns, bits, samples, frames = (int(one) for one in counts)
    except (TypeError, ValueError) as error:
        raise SourceError("rows, columns, bits, samples or frames are no whole numbers") from error
    if dataset.get("PhotometricInterpretation") == _HALVED:
        samples = 2
    return (rows * columns * samples * frames * bits + 7) // 8
