"""Whether a compressed picture is whole, and the one that the header describes. Decoders fill what is missing or read
another size than asked for, and say nothing.
"""

import struct
from dataclasses import dataclass

from pipeline.errors import SourceError

# Streams of all JPEG families end with FF D9: EOI (ITU-T T.81 B.1.1.3, T.87) or EOC (T.800 A.4.4). Within a stream
# these two bytes cannot follow each other.
_END = b"\xff\xd9"
_JPEG = tuple(f"1.2.840.10008.1.2.4.{leaf}" for leaf in ("50", "51", "57", "70"))
_JPEG_LS = tuple(f"1.2.840.10008.1.2.4.{leaf}" for leaf in ("80", "81"))
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{leaf}" for leaf in ("90", "91", "92", "93", "201", "202", "203"))
_FAMILIES = {
    **dict.fromkeys(_JPEG, "JPEG"),
    **dict.fromkeys(_JPEG_LS, "JPEG-LS"),
    **dict.fromkeys(_JPEG_2000, "JPEG 2000"),
}
_BEHIND = 64  # writers pad, with one byte or a few
_ITEM = b"\xfe\xff\x00\xe0"
# Start of image; start of codestream with the SIZ marker that must follow (T.800 A.5.1).
_START, _CODESTREAM = b"\xff\xd8", b"\xff\x4f\xff\x51"
_BOXES = b"\0\0\0\x0cjP  "  # a JP2 file around the codestream (T.800 I.5.1): not DICOM's way, but met
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_LS_FRAME = 0xF7
_FRAMES = frozenset((*range(0xC0, 0xD0), _JPEG_LS_FRAME)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class StatedPicture:
    """What a stream says of itself; ``rows`` or ``columns`` of 0 are told elsewhere in it (T.81 B.2.5)."""

    family: str
    rows: int
    columns: int
    samples: int
    bits: int


def check_stream(data: bytes, syntax: str, rows: int, columns: int, samples: int, allocated: int) -> None:
    """Raise `SourceError` unless the encapsulated ``data`` of one frame are whole and hold the picture described.

    The items must end where the data end (PS3.5 A.4); a stream of the JPEG families must be of the syntax' family, of
    this size and number of samples, with no more bits than are allocated, and reach its end marker. RLE states no size.
    """
    fragments = _fragments(data)
    if syntax not in _FAMILIES:
        return
    stream = fragments[0] if len(fragments) == 1 else memoryview(b"".join(fragments))
    if _END not in bytes(stream[-_BEHIND:]):
        raise SourceError("the compressed pixels end before their stream does: cut")
    stated = _stated(stream)
    if stated.family != _FAMILIES[syntax]:
        raise SourceError(f"the transfer syntax calls for {_FAMILIES[syntax]}, the pixels are {stated.family}")
    size = (stated.rows or rows, stated.columns or columns)
    if size != (rows, columns) or stated.samples != samples or stated.bits > allocated:
        raise SourceError(
            f"the header calls for {columns} x {rows} pixels of {samples} sample(s) in {allocated} bits, the "
            f"compressed picture has {size[1]} x {size[0]} of {stated.samples} in {stated.bits}"
        )


def _fragments(data: bytes) -> list[memoryview]:
    """The values of the items behind the offset table."""
    view, at, found = memoryview(data), 0, []
    if view[:4] != _ITEM:
        raise SourceError("the transfer syntax calls for compressed pixels in items, the file holds something else")
    while at + 8 <= len(view) and view[at : at + 4] == _ITEM:
        end = at + 8 + int.from_bytes(view[at + 4 : at + 8], "little")
        found.append(view[at + 8 : end])
        at = end
    if at != len(view):
        raise SourceError("the items of the compressed pixel data do not end where the data end: damaged or cut")
    if len(found) == 1:
        raise SourceError("the pixel data hold an offset table, and no picture")
    return found[1:]


def _stated(stream: memoryview) -> StatedPicture:
    try:
        if stream[:2] == _START:
            return _jpeg(stream)
        at = bytes(stream[:4096]).find(_CODESTREAM) if stream[:8] == _BOXES else 0
        if at >= 0 and stream[at : at + 4] == _CODESTREAM:
            return _jpeg_2000(stream[at:])
    except (struct.error, IndexError) as error:
        raise SourceError("the compressed pixels end inside their own header: cut") from error
    raise SourceError("the compressed pixels begin like no JPEG, JPEG-LS or JPEG 2000 picture: damaged")


def _jpeg(stream: memoryview) -> StatedPicture:
    """By the frame header behind tables and application segments (T.81 B.2.2, T.87 C.2.2)."""
    at = 2
    while True:
        if stream[at] != 0xFF:
            raise SourceError("the compressed pixels have no frame header: damaged")
        marker = stream[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAMES:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            return StatedPicture("JPEG-LS" if marker == _JPEG_LS_FRAME else "JPEG", rows, columns, samples, bits)
        else:
            at += 2 + struct.unpack_from(">H", stream, at + 2)[0]


def _jpeg_2000(stream: memoryview) -> StatedPicture:
    """By the SIZ marker (T.800 A.5.1): the image area is what lies between its offset and the grid's end."""
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    (samples,) = struct.unpack_from(">H", stream, 40)
    bits = max((stream[42 + 3 * component] & 0x7F) + 1 for component in range(max(samples, 1)))
    return StatedPicture("JPEG 2000", bottom - top, right - left, samples, bits)
