"""Fields of a NIfTI-1 or NIfTI-2 header by name, as they are written.

They are read here and not by nibabel, whose loader repairs faults (zero or negative pixdim, infinite scaling) without
a word. Fields and their meaning: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

import struct

from pipeline.errors import SourceError

# Byte offset and struct format of each field that is read.
_FIELDS_1 = {
    "dim": (40, "8h"), "intent": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
    "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "units": (123, "B"),
    "toffset": (136, "f"), "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"),
    "qoffset": (268, "3f"), "srow": (280, "12f"), "magic": (344, "4s"),
}  # fmt: skip
_FIELDS_2 = {
    "magic": (4, "4s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"),
    "vox_offset": (168, "q"), "scl_slope": (176, "d"), "scl_inter": (184, "d"), "toffset": (216, "d"),
    "qform_code": (344, "i"), "sform_code": (348, "i"), "quatern": (352, "3d"), "qoffset": (376, "3d"),
    "srow": (400, "12d"), "units": (500, "i"), "intent": (504, "i"),
}  # fmt: skip
_FIELDS = {348: _FIELDS_1, 540: _FIELDS_2}
_MAGIC = {348: (b"n+1", b"ni1"), 540: (b"n+2", b"ni2")}


class NiftiFields:
    """Fields by name, in the file's own byte order."""

    def __init__(self, block: bytes) -> None:
        self.order, self.size = byte_order(block[:4])
        self._block = block
        magic = self.text("magic")[:3]
        if magic not in _MAGIC[self.size]:
            hint = " (ANALYZE 7.5, which states no orientation)" if not magic.strip(b"\0") else ""
            raise SourceError(f"expected the magic {_MAGIC[self.size][0]!r} of NIfTI, found {magic!r}{hint}")
        self.pair = magic == _MAGIC[self.size][1]

    def numbers(self, name: str) -> tuple[float, ...]:
        offset, form = _FIELDS[self.size][name]
        return struct.unpack_from(self.order + form, self._block, offset)

    def number(self, name: str) -> float:
        return self.numbers(name)[0]

    def code(self, name: str) -> int:
        return int(self.number(name))

    def text(self, name: str) -> bytes:
        offset, form = _FIELDS[self.size][name]
        (value,) = struct.unpack_from(form, self._block, offset)
        return bytes(value)


def byte_order(start: bytes) -> tuple[str, int]:
    """Struct's sign of the byte order, and the header's size in bytes, by its first four.

    Raises:
        SourceError: it is neither 348 nor 540.
    """
    sizes = {order: struct.unpack(order + "i", start)[0] for order in "<>"} if len(start) == 4 else {}
    for order, size in sizes.items():
        if size in _FIELDS:
            return order, size
    found = list(sizes.values()) or "an empty file"
    raise SourceError(f"expected a NIfTI header of 348 or 540 bytes, found {found}")
