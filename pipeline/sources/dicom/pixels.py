"""The pixels of one DICOM frame, checked against what the header says."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.dicom.elements import UNDEFINED, Elements, HandOver, scan_image
from pipeline.sources.dicom.header import Values, numbers, open_dataset, relaxed_pydicom, text, whole_number
from pipeline.sources.dicom.streams import check_stream
from pipeline.sources.dicom.transfer_syntaxes import JPEG_EXTENDED, NATIVE_LITTLE_ENDIAN
from pipeline.sources.scan import VOLUME_BYTES

if TYPE_CHECKING:  # importing it takes longer than reading a series
    from pydicom.dataset import FileDataset

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "PALETTE COLOR")
# With 32 stored bits, results stay within float32's normal numbers; it tells 2^24 whole numbers apart.
_SMALLEST_SLOPE, _LARGEST_SLOPE, _FLOAT32_STEPS, _MOST_WHOLE = 1e-30, 1e28, 2**24, 2**31
_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


@dataclass(eq=False)
class SliceFile:
    """A single-frame file whose header was read; its pixels are read when asked for, and not kept.

    ``values`` answers `text`, `numbers`, `whole_number`, `matrix` and `rescale` for the keywords that were asked for
    and those of the pixel module.
    """

    path: Path
    values: Values = field(repr=False)
    transfer_syntax: str
    _native: "_Native | None" = field(repr=False)
    _digest: str = field(default="", repr=False)

    def pixels(self) -> np.ndarray:
        """As stored: ``(row, column)`` grey or ``(row, column, 3)`` RGB, see `decode`. May be called in threads.

        Raises:
            SourceError: as `decode` does; or the file changed since its header was read.
        """
        if self._native is None:
            return decode(open_dataset(self.path, pixels=True))
        file = _whole_file(self.path, self._native.size)
        self._digest = hashlib.sha256(file.data).hexdigest()
        return self._native.take(file)

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex; taken on the way where native pixels were read before."""
        if not self._digest:
            with self.path.open("rb") as stream:
                self._digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._digest


def read_slice_file(path: Path, keywords: Sequence[str]) -> SliceFile:
    """Read the header of a single-frame file, and make sure that the file is whole.

    Args:
        path: the file.
        keywords: DICOM keywords of the values to read; they must be in ``dicom/dictionary.py``.

    Raises:
        SourceError: not DICOM, cut, without pixels, or larger than it may be; native pixels that contradict the header.
        ValueError: a keyword that is not in the dictionary.
    """
    asked = tuple(dict.fromkeys((*keywords, *_MODULE)))
    try:
        elements = scan_image(path, asked)
    except (HandOver, OSError):
        dataset = open_dataset(path, pixels=True)
        return SliceFile(path, _Picked(dataset, asked), text(dataset.file_meta, "TransferSyntaxUID"), None)
    if elements.pixels is None:
        raise SourceError("the file ends before or inside its pixel data")
    return SliceFile(path, elements, elements.transfer_syntax, _Native.of(elements))


class _Picked:
    """Some values of a pydicom data set, without the rest of it."""

    def __init__(self, dataset: "FileDataset", keywords: Sequence[str]) -> None:
        self._values: dict[str, Any] = {}
        for keyword in keywords:
            try:
                self._values[keyword] = dataset.get(keyword)
            except Exception as error:  # told when the value is asked for, as the data set itself would
                self._values[keyword] = error

    def get(self, keyword: str, /) -> Any:
        value = self._values.get(keyword)
        if isinstance(value, Exception):
            raise value
        return value


@dataclass(frozen=True)
class _Native:
    """Uncompressed grey pixels at ``offset`` of a file of ``size`` bytes (PS3.5 8.1.1, A.1, A.2)."""

    size: int
    offset: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    stored: int

    @classmethod
    def of(cls, elements: Elements) -> "_Native | None":
        """`None` for what pydicom decodes: colour, compressed, several frames, or bits at an unusual place."""
        assert elements.pixels is not None
        offset, length = elements.pixels
        if elements.transfer_syntax not in NATIVE_LITTLE_ENDIAN or length == UNDEFINED:
            return None
        module = check_module(elements)
        bits, signed = module.allocated, elements.get("PixelRepresentation")
        usual = bits in (8, 16, 32) and signed in (0, 1) and module.photometric in _GREY
        usual &= elements.get("HighBit") == module.stored - 1 and elements.get("BitsStored") is not None
        if not usual or whole_number(elements, "NumberOfFrames", 1) != 1:
            return None
        check_length(module, length)
        dtype = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
        return cls(elements.size, offset, (module.rows, module.columns), dtype, module.stored)

    def take(self, file: np.ndarray) -> np.ndarray:
        """The pixels out of the file's bytes, where they lie."""
        end = self.offset + self.shape[0] * self.shape[1] * self.dtype.itemsize
        array = file[self.offset : end].view(self.dtype).reshape(self.shape)
        spare = self.dtype.itemsize * 8 - self.stored
        if spare and not self._fits(array):
            # What lies in the bits beyond BitsStored is not part of the value (PS3.5 8.1.1).
            np.left_shift(array, spare, out=array)
            np.right_shift(array, spare, out=array)
        return array

    def _fits(self, array: np.ndarray) -> bool:
        signed = self.dtype.kind == "i"
        low = -(1 << (self.stored - 1)) if signed else 0
        return bool(array.max() < (1 << (self.stored - signed)) and (not signed or array.min() >= low))


@dataclass(frozen=True)
class PixelModule:
    """What the header says of the pixels (PS3.3 C.7.6.3), free of contradictions."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    photometric: str

    @property
    def frame_bytes(self) -> int:
        """Of one uncompressed frame."""
        bits = self.rows * self.columns * self.samples * self.allocated
        return ((bits * 2 // 3 if self.photometric == "YBR_FULL_422" else bits) + 7) // 8


def matrix(dataset: Values) -> tuple[int, int]:
    """``(columns, rows)``, both at least 1."""
    columns, rows = whole_number(dataset, "Columns"), whole_number(dataset, "Rows")
    if columns < 1 or rows < 1:
        raise SourceError(f"Rows and Columns must be at least 1, got {rows} and {columns}")
    return columns, rows


def decode(dataset: "FileDataset") -> np.ndarray:
    """Stored values of a single frame: ``(row, column)`` grey or ``(row, column, 3)`` RGB.

    Palettes are applied, YBR becomes RGB; MONOCHROME1 is left as stored.

    Raises:
        SourceError: the pixel module contradicts itself or the data, or the stream cannot be decoded.
    """
    module = check_module(dataset)
    _check_data(dataset, module)
    relaxed_pydicom()
    from pydicom.pixels import apply_color_lut, pixel_array

    try:
        array = pixel_array(dataset, decoding_plugin=_plugin(dataset, module))
        if module.photometric == "PALETTE COLOR":
            array = _eight_bit(apply_color_lut(array, dataset))
    except MemoryError as error:
        raise SourceError("decoding the pixels needs more memory than is allowed") from error
    except Exception as error:
        syntax = relaxed_pydicom().uid.UID(text(dataset.file_meta, "TransferSyntaxUID")).name or "missing"
        raise SourceError(f"pixels cannot be decoded ({type(error).__name__}; transfer syntax {syntax})") from error
    expected = (module.rows, module.columns) + (() if module.photometric in _GREY else (3,))
    if array.shape != expected:
        raise SourceError(f"decoded pixels must have shape {expected}, got {array.shape}")
    return array


def _plugin(dataset: "FileDataset", module: PixelModule) -> str:
    """The name of the decoder that pydicom must take; empty where any will do."""
    if text(dataset.file_meta, "TransferSyntaxUID") != JPEG_EXTENDED or module.stored <= 8:
        return ""
    from pipeline.sources.dicom.codecs import TWELVE_BIT_JPEG, add_twelve_bit_jpeg

    add_twelve_bit_jpeg()
    return TWELVE_BIT_JPEG


def rescale(dataset: Values) -> tuple[float, float]:
    """``(slope, intercept)`` of the modality rescale; ``(1, 0)`` where none is given.

    Raises:
        SourceError: a slope of 0, which would make the image constant, or numbers whose results float32 cannot hold
            or tell apart.
    """
    slope = numbers(dataset, "RescaleSlope", 1) or (1.0,)
    intercept = numbers(dataset, "RescaleIntercept", 1) or (0.0,)
    if slope[0] == 0:
        raise SourceError("RescaleSlope is 0, which makes the image constant")
    whole = slope[0] == 1 and intercept[0].is_integer()
    steps = _MOST_WHOLE if whole else _FLOAT32_STEPS * abs(slope[0])
    if not _SMALLEST_SLOPE <= abs(slope[0]) <= _LARGEST_SLOPE or abs(intercept[0]) > steps:
        raise SourceError(
            f"RescaleSlope {slope[0]:g} and RescaleIntercept {intercept[0]:g} give values that float32 cannot hold or "
            "tell apart"
        )
    return slope[0], intercept[0]


def inverted(array: np.ndarray, bits_stored: int, signed: bool) -> np.ndarray:
    """MONOCHROME1 as MONOCHROME2: the smallest storable value becomes the largest."""
    ends = -1 if signed else (1 << bits_stored) - 1
    return (ends - array.astype(np.int64)).astype(array.dtype)


def check_module(values: Values) -> PixelModule:
    """The pixel module of a header.

    Raises:
        SourceError: it is incomplete or contradicts itself, or a frame of it is larger than a volume may be.
    """
    columns, rows = matrix(values)
    photometric = text(values, "PhotometricInterpretation")
    samples = whole_number(values, "SamplesPerPixel", 1)
    allocated = whole_number(values, "BitsAllocated")
    stored = whole_number(values, "BitsStored", allocated)
    if photometric not in _GREY + _COLOUR:
        raise SourceError(f"PhotometricInterpretation must be one of {', '.join(_GREY + _COLOUR)}; this one is not")
    if samples != (1 if photometric in (*_GREY, "PALETTE COLOR") else 3):
        raise SourceError(f"{photometric} and {samples} samples per pixel do not agree")
    if not 1 <= stored <= allocated:
        raise SourceError(f"BitsStored must be 1 … BitsAllocated, got {stored} of {allocated}")
    if columns * rows * samples * max(allocated, 8) // 8 > VOLUME_BYTES:
        raise SourceError(f"{columns} x {rows} pixels are more than {VOLUME_BYTES / 2**30:.0f} GiB")
    return PixelModule(rows, columns, samples, allocated, stored, photometric)


def check_length(module: PixelModule, length: int) -> None:
    """Raise `SourceError` unless ``length`` bytes are one uncompressed frame, padded to an even number or not."""
    need = module.frame_bytes
    if not length:
        raise SourceError("the file has no pixel data")
    if length not in (need, need + need % 2):
        raise SourceError(f"the header calls for {need} bytes of pixels, {length} are there")


def _check_data(dataset: "FileDataset", module: PixelModule) -> None:
    uid = relaxed_pydicom().uid.UID
    syntax = text(dataset.file_meta, "TransferSyntaxUID")
    if not syntax:
        raise SourceError("the file states no TransferSyntaxUID")
    if not uid(syntax).is_transfer_syntax or uid(syntax).is_private:
        shown = f" {syntax}" if len(syntax) <= 64 and set(syntax) <= set(".0123456789") else ""  # else it is free text
        raise SourceError(f"transfer syntax{shown} is not one that can be decoded")
    try:
        data = dataset.get("PixelData")
    except Exception as error:
        raise SourceError(f"pixel data cannot be read ({type(error).__name__})") from error
    if not data:
        raise SourceError("the file has no pixel data")
    if uid(syntax).is_encapsulated:
        check_stream(data, str(syntax), module.rows, module.columns, module.samples, module.allocated)
    else:
        check_length(module, len(data))


def _whole_file(path: Path, size: int) -> np.ndarray:
    """All bytes of a file that must have ``size`` of them."""
    if size > VOLUME_BYTES:
        raise SourceError(f"the file has {size / 2**30:.1f} GiB, more than {VOLUME_BYTES / 2**30:.0f} GiB")
    file = np.empty(size, dtype=np.uint8)
    with path.open("rb", buffering=0) as stream:
        if stream.readinto(file.data) != size or os.fstat(stream.fileno()).st_size != size:
            raise SourceError("the file changed while it was read: ingest it again")
    return file


def _eight_bit(colours: np.ndarray) -> np.ndarray:
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
