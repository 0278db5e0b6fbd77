"""DICOM files put together byte by byte, so that tests can write what no library would."""

import struct

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF
CT = "1.2.840.10008.5.1.4.1.1.2"
SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
ITEM_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"UC", b"UR")


def explicit(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """An element; ``length`` is declared in the place of the true one."""
    declared = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    return head + (struct.pack("<HL", 0, declared) if vr.encode() in _LONG else struct.pack("<H", declared)) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    declared = len(value) if length is None else length
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, declared) + value


def item(content: bytes, length: int | None = None) -> bytes:
    declared = len(content) if length is None else length
    return struct.pack("<HHL", 0xFFFE, 0xE000, declared) + content


def part10(syntax: str, *elements: bytes) -> bytes:
    """Preamble, file meta group and data set."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = explicit(0x00020002, "UI", CT.encode() + b"\0" * (len(CT) % 2)) + explicit(0x00020010, "UI", uid)
    group = explicit(0x00020000, "UL", struct.pack("<L", len(meta)))
    return b"\0" * 128 + b"DICM" + group + meta + b"".join(elements)
