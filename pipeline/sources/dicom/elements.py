"""Header elements of usual DICOM files, read without pydicom: a few microseconds a file instead of a millisecond.

Read are explicit and implicit little-endian data sets whose elements ascend (PS3.5 7.1) and end within the file.
Anything else (big-endian, deflated, no preamble, a cut file, an unknown value representation, a value that is not what
its representation says) raises `HandOver`: pydicom then decides what the file is worth. Nothing that a file declares is
believed before it is compared with the file's size, and nothing is read but the pieces that hold wanted elements, so
that a hostile file costs neither memory nor time.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from struct import Struct
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.dicom.dictionary import TAGS
from pipeline.sources.dicom.element_values import CONVERTERS, HandOver
from pipeline.sources.dicom.transfer_syntaxes import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
_FLOAT_PIXELS = 0x7FE00008
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIECE = 8192
_LONGEST_VALUE = 1 << 16
_DEEPEST = 64
_MOST_ELEMENTS = 4_000_000

# PS3.5 7.1.2: after these two letters comes a 16-bit length; after the others two empty bytes and a 32-bit length.
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_explicit = Struct("<HH2sH").unpack_from
_implicit = Struct("<HHL").unpack_from
_length = Struct("<L").unpack_from


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """``values`` by keyword as pydicom gives them, numbers in text as they are written; empty elements are left out.

    ``pixels`` is where PixelData's value lies, (offset, length) in bytes of the file; the length is `UNDEFINED` where
    it is encapsulated; `None` where there are no pixels or the reading ended before them. ``size`` is the file's.
    """

    values: dict[str, Any]
    transfer_syntax: str
    media_class: str
    pixels: tuple[int, int] | None
    size: int

    def get(self, keyword: str, /) -> Any:
        return self.values.get(keyword)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Elements to read: keyword, representation and conversion by tag."""

    by_tag: dict[int, tuple[str, bytes, Callable[[bytes], Any]]]
    last: int
    needed: frozenset[str]


def scan_header(path: str | os.PathLike[str], keywords: tuple[str, ...], optional: tuple[str, ...] = ()) -> Elements:
    """The elements asked for. Reading ends behind the last of them, or before the pixels where one is missing that is
    not ``optional``.

    Raises:
        HandOver: not a usual file.
        OSError: the file cannot be read.
    """
    return _scan(path, wanted(keywords, optional), whole=False)


def scan_image(path: str | os.PathLike[str], keywords: tuple[str, ...]) -> Elements:
    """The elements asked for and the place of the pixels; the file is followed to its very end.

    Raises:
        HandOver: not a usual file, or not a whole one.
        OSError: the file cannot be read.
    """
    return _scan(path, wanted(keywords), whole=True)


def scan_meta(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Where the data set begins, and the transfer syntax that it is in; nothing of it is read or inflated.

    Raises:
        HandOver: not a file with preamble and file meta group.
        OSError: the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        position, syntax, _ = _meta(_Window(descriptor))
        return position, syntax
    finally:
        os.close(descriptor)


@cache
def wanted(keywords: tuple[str, ...], optional: tuple[str, ...] = ()) -> _Wanted:
    """The table for ``keywords`` and ``optional`` ones.

    Raises:
        ValueError: a keyword that is not in the dictionary.
    """
    needed = frozenset(keywords)
    keywords += optional
    unknown = sorted(set(keywords) - set(TAGS))
    if unknown:
        raise ValueError(f"elements to read must be in dicom/dictionary.py, {', '.join(unknown)} is not")
    rows = {tag: (keyword, vr.encode(), CONVERTERS[vr]) for keyword, (tag, vr) in TAGS.items() if keyword in keywords}
    return _Wanted(rows, max(rows), needed)


class _Window:
    """A file's bytes, one piece at a time; positions are the file's."""

    __slots__ = ("_descriptor", "_left", "end", "piece", "size", "start")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = _MOST_ELEMENTS
        self.size = os.fstat(descriptor).st_size
        self.piece = os.read(descriptor, _PIECE)
        self.start, self.end = 0, len(self.piece)

    def at(self, position: int, count: int) -> int:
        """Where in ``piece`` the ``count`` bytes from ``position`` on begin."""
        self.spend(1)
        if position < self.start or position + count > self.end:
            os.lseek(self._descriptor, position, os.SEEK_SET)
            self.piece = os.read(self._descriptor, max(count, _PIECE))
            self.start, self.end = position, position + len(self.piece)
            if len(self.piece) < count:
                raise HandOver("the file ends inside an element")
        return position - self.start

    def spend(self, steps: int) -> None:
        """Raise `SourceError` when a header takes more steps than any real one."""
        self._left -= steps
        if self._left < 0:
            raise SourceError(f"the header holds more than {_MOST_ELEMENTS // 2} elements")


def _scan(path: str | os.PathLike[str], table: _Wanted, whole: bool) -> Elements:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        window = _Window(descriptor)
        position, syntax, media_class = _meta(window)
        if syntax not in EXPLICIT_LITTLE_ENDIAN and syntax != IMPLICIT_LITTLE_ENDIAN:
            raise HandOver("a transfer syntax that is read by pydicom")
        values, pixels = _data_set(window, position, syntax == IMPLICIT_LITTLE_ENDIAN, table, whole)
        return Elements(values, syntax, media_class, pixels, window.size)
    finally:
        os.close(descriptor)


def _meta(window: _Window) -> tuple[int, str, str]:
    """Behind the file meta group, its transfer syntax, and its SOP class (PS3.10 7.1)."""
    if window.piece[128:132] != b"DICM":
        raise HandOver("no preamble")
    position, found = 132, {0x00020010: "", 0x00020002: ""}
    while position < window.size:
        start = window.at(position, 2)
        if window.piece[start : start + 2] != b"\2\0":
            break
        tag, _, length, body = _element(window, position, False)
        if tag in found:
            if length > 64:
                raise HandOver("a UID of more than 64 characters")
            start = window.at(body, length)
            found[tag] = window.piece[start : start + length].decode("latin-1").strip("\0 ")
        position = _end(window, tag, b"", length, body)
    return position, found[0x00020010], found[0x00020002]


def _data_set(
    window: _Window, position: int, implicit: bool, table: _Wanted, whole: bool
) -> tuple[dict[str, Any], tuple[int, int] | None]:
    values: dict[str, Any] = {}
    pixels = None
    before = 0x00030000  # no command set (group 0), and no second meta group
    by_tag, last, needed, size = table.by_tag, table.last, table.needed, window.size
    if implicit and position < size and _looks_explicit(window, position):
        raise HandOver("explicit elements in an implicit transfer syntax")
    while position < size:
        if not implicit:
            position, before = _past_unwanted(window, position, before, table, whole)
            if position == size:
                break
        tag, vr, length, body = _element(window, position, implicit)
        if tag <= before or 0xFFFE0000 <= tag < 0xFFFF0000:
            raise HandOver("elements out of order")
        if not whole and (_FLOAT_PIXELS <= tag <= PIXEL_DATA or (tag > last and needed <= values.keys())):
            break
        before = tag
        end = _end(window, tag, vr, length, body)
        if tag in by_tag:
            keyword, expected, convert = by_tag[tag]
            value = _value(window, vr, length, body, expected, convert)
            if value != "":
                values[keyword] = value
        elif _FLOAT_PIXELS <= tag <= PIXEL_DATA:
            if tag != PIXEL_DATA or vr not in (b"OW", b"OB", b""):
                raise HandOver("pixels of another kind")
            pixels = (body, length)
        position = end
    return values, pixels


def _past_unwanted(window: _Window, position: int, before: int, table: _Wanted, whole: bool) -> tuple[int, int]:
    """Behind the short explicit elements of this piece that nobody asked for, and the last one's tag: most of a header.

    What is unusual in any way is left to the caller.
    """
    piece, start, room = window.piece, window.start, window.end - 8
    by_tag, limit, steps = table.by_tag, _FLOAT_PIXELS if whole else table.last, 0
    while start <= position <= room:
        group, element, vr, length = _explicit(piece, position - start)
        tag = group << 16 | element
        if not before < tag < limit or tag in by_tag or vr not in _SHORT:
            break
        before = tag
        position += 8 + length
        steps += 1
    window.spend(steps)
    return position, before


def _element(window: _Window, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, representation (empty where implicit), length, and where the value begins."""
    start = window.at(position, 8)
    if implicit:
        group, element, length = _implicit(window.piece, start)
        return group << 16 | element, b"", length, position + 8
    group, element, vr, length = _explicit(window.piece, start)
    if vr in _SHORT:
        return group << 16 | element, vr, length, position + 8
    if vr in _LONG:
        start = window.at(position + 8, 4)
        return group << 16 | element, vr, _length(window.piece, start)[0], position + 12
    raise HandOver("an unknown value representation")


def _end(window: _Window, tag: int, vr: bytes, length: int, body: int) -> int:
    """Behind the value."""
    if length == UNDEFINED:
        return _behind_items(window, body, implicit=vr == b"")
    if body + length > window.size:
        raise HandOver("the file ends inside an element")
    return body + length


def _value(window: _Window, vr: bytes, length: int, body: int, expected: bytes, convert: Callable[[bytes], Any]) -> Any:
    if vr not in (expected, b"") or length > _LONGEST_VALUE:
        raise HandOver("another value representation than the dictionary's, or a very long value")
    if not length:
        return ""
    start = window.at(body, length)
    return convert(window.piece[start : start + length])


def _behind_items(window: _Window, position: int, implicit: bool) -> int:
    """Behind the delimiter of a sequence, or of encapsulated fragments, of undefined length (PS3.5 7.5, A.4).

    Values and items of defined length are stepped over unseen; ``levels`` holds what is open.
    """
    levels: list[tuple[bool, bool]] = [(False, implicit)]  # (inside an item, else between items; implicit elements)
    while True:
        inside, implicit = levels[-1]
        if inside:
            position = _inside_item(window, position, implicit, levels)
        else:
            position = _between_items(window, position, implicit, levels)
        if not levels:
            return position
        if position > window.size or len(levels) > _DEEPEST:
            raise HandOver("sequences that do not end within the file, or nest without end")


def _between_items(window: _Window, position: int, implicit: bool, levels: list[tuple[bool, bool]]) -> int:
    tag, _, length, body = _element(window, position, True)
    if tag == _SEQUENCE_END:
        levels.pop()
        return body
    if tag != _ITEM:
        raise HandOver("something else than an item in a sequence")
    if length != UNDEFINED:
        return body + length
    levels.append((True, implicit or not _looks_explicit(window, body)))
    return body


def _inside_item(window: _Window, position: int, implicit: bool, levels: list[tuple[bool, bool]]) -> int:
    tag, _, _, body = _element(window, position, True)
    if tag == _ITEM_END:
        levels.pop()
        return body
    _, _, length, body = _element(window, position, implicit)
    if length != UNDEFINED:
        return body + length
    levels.append((False, implicit))
    return body


def _looks_explicit(window: _Window, position: int) -> bool:
    """Two capital letters behind the tag, which would be the low half of a length above 16,000 (as pydicom asks).

    An item of an explicit data set may be implicit all the same (PS3.5 6.2.2).
    """
    start = window.at(position, 6)
    first, second = window.piece[start + 4], window.piece[start + 5]
    return 0x40 < first < 0x5B and 0x40 < second < 0x5B
