"""Whether a PNG file holds all the pixels that it states: Pillow reads what is missing as 0, and says nothing.

Source: PNG (ISO/IEC 15948), chunks 5.3, interlacing 8.2, filter bytes 9.2, compression 10.1.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import SourceError

_SIGNATURE_BYTES, _HEADER_BYTES, _CHECKSUM_BYTES = 8, 13, 4
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_WHOLE = ((0, 0, 1, 1),)
# Adam7: first column, first row, and steps of each pass.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_PIECE = 1 << 20


def check_png(path: Path) -> None:
    """Inflate the pixels, in pieces that are not kept, and count them.

    Raises:
        SourceError: there are fewer than the header states, or the stream is damaged.
    """
    with path.open("rb") as stream:
        stream.seek(_SIGNATURE_BYTES)
        need = _stated_bytes(_header(stream))
        there = 0
        inflate = zlib.decompressobj()
        try:
            for block in _pixel_blocks(stream):
                pending = block
                while pending and there < need:
                    there += len(inflate.decompress(pending, _PIECE))
                    pending = inflate.unconsumed_tail
        except zlib.error as error:
            raise SourceError("the PNG's pixels are damaged") from error
    there += len(inflate.flush()) if there < need else 0
    if there < need:
        raise SourceError(f"the PNG states {need} bytes of pixels, {there} are there: damaged or cut")


def _stated_bytes(header: bytes) -> int:
    columns, rows = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _SAMPLES.get(header[9], 0)
    total = 0
    for left, top, across, down in _PASSES if header[12] else _WHOLE:
        wide, high = -(-(columns - left) // across), -(-(rows - top) // down)
        if wide > 0 and high > 0:
            total += high * (1 + (wide * bits + 7) // 8)
    return total


def _pixel_blocks(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        name, length = _next(stream)
        if name == b"IEND":
            return
        if name != b"IDAT":
            stream.seek(length + _CHECKSUM_BYTES, 1)
            continue
        while length:
            block = stream.read(min(length, _PIECE))
            if not block:
                raise SourceError("the PNG ends inside its pixels: damaged or cut")
            length -= len(block)
            yield block
        stream.seek(_CHECKSUM_BYTES, 1)


def _header(stream: BinaryIO) -> bytes:
    name, length = _next(stream)
    header = stream.read(_HEADER_BYTES)
    if name != b"IHDR" or length != _HEADER_BYTES or len(header) < _HEADER_BYTES:
        raise SourceError("the PNG does not begin with its header: damaged")
    stream.seek(_CHECKSUM_BYTES, 1)
    return header


def _next(stream: BinaryIO) -> tuple[bytes, int]:
    head = stream.read(8)
    if len(head) < 8:
        raise SourceError("the PNG ends before its last chunk: damaged or cut")
    return head[4:], int.from_bytes(head[:4], "big")
