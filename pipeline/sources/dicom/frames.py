"""Frames of one multi-frame DICOM file, read one by one: however large the file, only a frame is in memory.

Native frames lie at fixed offsets; encapsulated ones are found by the items of PixelData and its offset tables
(PS3.5 A.4).
"""

import copy
import io
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import open_dataset, open_until, whole_number
from pipeline.sources.dicom.pixels import check_module, decode, matrix
from pipeline.sources.dicom.transfer_syntaxes import DEFLATED

_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = 0x7FE00010
# More frames than any scanner writes; a header that claims more is wrong.
_MOST_FRAMES = 1 << 24
_PIXEL_MODULE = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
)

# Where a frame's bytes lie in the file: (offset, length) of each piece.
Pieces = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Native:
    """Frames of ``length`` bytes each, one after the other from ``start``."""

    start: int
    length: int

    def __getitem__(self, number: int) -> Pieces:
        return ((self.start + number * self.length, self.length),)


@dataclass(frozen=True, eq=False)
class FrameFile:
    """One file of many frames: ``dataset`` is its header, ``count`` its NumberOfFrames. Its frames may be read in
    threads.
    """

    path: Path
    dataset: FileDataset
    count: int
    _pieces: _Native | list[Pieces] = field(repr=False)
    _inflated: bytes | None = field(default=None, repr=False)

    @property
    def matrix(self) -> tuple[int, int]:
        """``(columns, rows)`` of every frame."""
        return matrix(self.dataset)

    def read(self, number: int) -> np.ndarray | None:
        """Stored values of frame ``number`` (0 is the first): ``(row, column)`` or ``(row, column, 3)`` RGB.

        `None` where the file holds an empty item for it.

        Raises:
            SourceError: the frame is cut or cannot be decoded.
        """
        with _bytes_of(self.path, self._inflated) as stream:
            data = b"".join(_read_at(stream, *piece) for piece in self._pieces[number])
        if not data:
            return None
        one = copy.copy(self._template)
        native = isinstance(self._pieces, _Native)
        one.PixelData = data + b"\0" * (len(data) % 2) if native else encapsulate([data], has_bot=False)
        try:
            return decode(one)
        except SourceError as error:
            raise SourceError(f"frame {number + 1} of {self.count}: {error}") from error

    def is_empty(self, number: int) -> bool:
        """Whether the file holds an empty item in the frame's place."""
        return not sum(length for _, length in self._pieces[number])

    @cached_property
    def _template(self) -> FileDataset:
        """The pixel module for a single frame."""
        one = FileDataset("", {}, file_meta=FileMetaDataset())
        one.file_meta.TransferSyntaxUID = self.dataset.file_meta.TransferSyntaxUID
        for keyword in _PIXEL_MODULE:
            if keyword in self.dataset:
                one[keyword] = self.dataset[keyword]
        one.NumberOfFrames = 1
        one.set_original_encoding(*self.dataset.original_encoding)
        return one


def open_frames(path: Path) -> FrameFile:
    """Read a file's header and find its frames; no frame is decoded.

    Raises:
        SourceError: not DICOM, cut, without pixel data, or with fewer or more bytes or items than frames.
    """
    dataset, start = open_until(path)
    inflated = _inflated(path) if str(dataset.file_meta.get("TransferSyntaxUID", "")) == DEFLATED else None
    check_module(dataset)
    count = whole_number(dataset, "NumberOfFrames", 1)
    if not 1 <= count <= _MOST_FRAMES:
        raise SourceError(f"NumberOfFrames must be 1 … {_MOST_FRAMES}, got {count}")
    with _bytes_of(path, inflated) as stream:
        size = stream.seek(0, os.SEEK_END)
        first, length = _pixel_data(stream, dataset, 0 if inflated else start)
        if length == _UNDEFINED:
            pieces: _Native | list[Pieces] = _encapsulated(stream, dataset, first, count)
        else:
            pieces = _native(dataset, first, min(length, size - first), count)
    return FrameFile(path, dataset, count, pieces, inflated)


def _inflated(path: Path) -> bytes:
    """A deflated file's native frames, as an explicit little-endian element of their own."""
    data: bytes = open_dataset(path, pixels=True).PixelData
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(data)) + data


def _pixel_data(stream: BinaryIO, dataset: FileDataset, start: int) -> tuple[int, int]:
    """Where the pixel data's value starts, and its declared length."""
    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    stream.seek(start)
    head = stream.read(12)
    if len(head) < 12:
        raise SourceError("the file ends before or inside its pixel data")
    group, element = struct.unpack(f"{order}HH", head[:4])
    if (group << 16 | element) != _PIXEL_DATA:
        raise SourceError("the file has no pixel data of whole numbers (PixelData)")
    if implicit:
        return start + 8, struct.unpack(f"{order}I", head[4:8])[0]
    return start + 12, struct.unpack(f"{order}I", head[8:12])[0]


def _native(dataset: FileDataset, start: int, there: int, count: int) -> _Native:
    if UID(dataset.file_meta.get("TransferSyntaxUID", "")).is_encapsulated:
        raise SourceError("the transfer syntax calls for encapsulated pixel data, got one run of bytes")
    module = check_module(dataset)
    if module.allocated < 8:
        raise SourceError(f"{module.allocated} bit(s) a pixel are not read in objects of many frames")
    need = module.frame_bytes * count
    if there not in (need, need + need % 2):
        raise SourceError(f"the header calls for {need} bytes of pixels in {count} frames, {there} are there")
    return _Native(start, module.frame_bytes)


def _encapsulated(stream: BinaryIO, dataset: FileDataset, start: int, count: int) -> list[Pieces]:
    items = _items(stream, start)
    if not items:
        raise SourceError("the pixel data hold no item: the file is cut")
    table, *fragments = items
    if len(fragments) == count:
        return [(fragment,) for fragment in fragments]
    if len(fragments) < count:
        raise SourceError(f"the header states {count} frames, {len(fragments)} are there")
    if count == 1:
        return [tuple(fragments)]
    for frames in (
        _by_offsets(fragments, _extended_table(dataset)),
        _by_offsets(fragments, _basic_table(stream, *table)),
        _by_end_of_image(stream, fragments),
    ):
        if len(frames) == count:
            return frames
    raise SourceError(
        f"{len(fragments)} pieces for {count} frames, and no offset table that says which belong together"
    )


def _by_offsets(fragments: list[tuple[int, int]], offsets: list[int]) -> list[Pieces]:
    """The fragments from one offset to the next make a frame; none where the offsets do not fit the fragments."""
    first = fragments[0][0]
    starts = {at - first: place for place, (at, _) in enumerate(fragments)}
    cuts = [*(starts.get(offset, -1) for offset in offsets), len(fragments)]
    if cuts != sorted(set(cuts)) or cuts[0] != 0:
        return []
    return [tuple(fragments[a:b]) for a, b in pairwise(cuts)]


def _by_end_of_image(stream: BinaryIO, fragments: list[tuple[int, int]]) -> list[Pieces]:
    """Fragments up to each one that ends with JPEG's (JPEG-LS's, JPEG 2000's) end marker make a frame."""
    frames: list[Pieces] = []
    pending: list[tuple[int, int]] = []
    for at, length in fragments:
        pending.append((at, length))
        tail = min(length, 4)
        if b"\xff\xd9" in _read_at(stream, at + length - tail, tail):
            frames.append(tuple(pending))
            pending = []
    return [] if pending else frames


def _items(stream: BinaryIO, start: int) -> list[tuple[int, int]]:
    """``(offset, length)`` of the value of every item: the offset table first, then the fragments."""
    found: list[tuple[int, int]] = []
    at = start
    size = stream.seek(0, os.SEEK_END)
    while True:
        group, element, length = struct.unpack("<HHI", _read_at(stream, at, 8))
        if (group, element) == _DELIMITER:
            return found
        if (group, element) != _ITEM:
            raise SourceError(f"pixel data must be made of items, found something else after {len(found)} items")
        if at + 8 + length > size:
            raise SourceError(f"the file is cut inside item {len(found) + 1} of its pixel data")
        found.append((at + 8, length))
        at += 8 + length


def _extended_table(dataset: FileDataset) -> list[int]:
    table = dataset.get("ExtendedOffsetTable") or b""
    return np.frombuffer(table[: len(table) // 8 * 8], dtype="<u8").tolist()


def _basic_table(stream: BinaryIO, at: int, length: int) -> list[int]:
    return np.frombuffer(_read_at(stream, at, length // 4 * 4), dtype="<u4").tolist()


def _bytes_of(path: Path, inflated: bytes | None) -> BinaryIO:
    return path.open("rb") if inflated is None else io.BytesIO(inflated)


def _read_at(stream: BinaryIO, at: int, length: int) -> bytes:
    stream.seek(at)
    data = stream.read(length)
    if len(data) < length:
        raise SourceError("the file is cut inside its pixel data")
    return data
