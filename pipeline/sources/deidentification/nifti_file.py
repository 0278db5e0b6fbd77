"""One NIfTI file, de-identified: its free texts and extensions are emptied, its voxels copied."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import SourceError
from pipeline.sources.deidentification.placing import write_once
from pipeline.sources.scan import VOLUME_BYTES

_BLOCK = 1 << 20
# Field → first byte and length. NIfTI-1: nifti1.h, with the ANALYZE fields that it leaves unused; NIfTI-2: nifti2.h.
_TEXTS_1 = {
    "data_type": (4, 10), "db_name": (14, 18), "extents": (32, 4), "session_error": (36, 2), "regular": (38, 1),
    "descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16),
}  # fmt: skip
_TEXTS_2 = {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16), "unused_str": (525, 15)}
_SIZES = {348: _TEXTS_1, 540: _TEXTS_2}
_MAGIC = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}


def deidentify_nifti(source: Path, target: Path) -> dict[str, int]:
    """Write ``source`` (``.nii`` or ``.nii.gz``) to ``target`` without its texts; how often each field held one.

    Raises:
        SourceError: no single-file NIfTI, cut, or larger than a volume may be.
    """
    with source.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if is_packed else file
        try:
            header, found, voxels = _header(stream)  # type: ignore[arg-type]
            pieces = _pieces(stream, header, voxels)  # type: ignore[arg-type]
            write_once(target, _packed(pieces) if target.name.endswith(".gz") else pieces)
        except (EOFError, OSError, zlib.error, struct.error) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise SourceError(f"not a readable NIfTI file ({type(error).__name__}): damaged or cut") from error
    return found


def _header(stream: BinaryIO) -> tuple[bytes, dict[str, int], int]:
    """The new header with the four bytes that say "no extension", what it held, and how many bytes of voxels follow."""
    start = stream.read(4)
    order = next((one for one in "<>" if len(start) == 4 and struct.unpack(f"{one}i", start)[0] in _SIZES), None)
    if order is None:
        raise SourceError("not a NIfTI file: its header has no valid size")
    size = struct.unpack(f"{order}i", start)[0]
    header = bytearray(start + stream.read(size - 4))
    place, magic = _MAGIC[size]
    if len(header) < size or header[place : place + 4] != magic:
        raise SourceError("not a single NIfTI file (.nii): a pair of files, ANALYZE, or damaged")
    found = {}
    for field, (begin, length) in _SIZES[size].items():
        if header[begin : begin + length].strip(b"\0 "):
            found[field] = 1
        header[begin : begin + length] = bytes(length)
    if _move_voxels(header, order, size, stream):
        found["extensions"] = 1
    return bytes(header) + bytes(4), found, _voxel_bytes(header, order, size)


def _voxel_bytes(header: bytearray, order: str, size: int) -> int:
    """What follows the voxels could hold anything, so only they are copied."""
    dims = struct.unpack_from(f"{order}8h", header, 40) if size == 348 else struct.unpack_from(f"{order}8q", header, 16)
    (bits,) = struct.unpack_from(f"{order}h", header, 72 if size == 348 else 14)
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1 or bits < 1:
        raise SourceError("the dimensions or the data type are impossible")
    count = (math.prod(dims[1 : dims[0] + 1]) * bits + 7) // 8
    if count > VOLUME_BYTES:
        raise SourceError(f"voxels take more than {VOLUME_BYTES / 2**30:.0f} GiB: refused")
    return count


def _move_voxels(header: bytearray, order: str, size: int, stream: BinaryIO) -> bool:
    """Let the voxels follow the header at once; whether something lay between them."""
    form, place = ("f", 108) if size == 348 else ("q", 168)
    offset = struct.unpack_from(order + form, header, place)[0] or size + 4
    if not size + 4 <= offset <= VOLUME_BYTES or offset != int(offset):
        raise SourceError("vox_offset points into the header, or nowhere")
    between = stream.read(int(offset) - size)
    if len(between) < int(offset) - size:
        raise SourceError("the file ends before its voxels")
    struct.pack_into(order + form, header, place, size + 4)
    return any(between)


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Gzip without a name and a time (RFC 1952 2.3)."""
    packer = zlib.compressobj(6, wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _pieces(stream: BinaryIO, header: bytes, left: int) -> Iterator[bytes]:
    yield header
    while left:
        block = stream.read(min(_BLOCK, left))
        if not block:
            raise SourceError(f"the file is cut: {left} bytes of voxels are missing")
        left -= len(block)
        yield block
