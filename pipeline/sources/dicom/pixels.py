"""The pixels of one DICOM frame, checked against what the header says."""

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import UID

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import numbers, text, whole_number
from pipeline.sources.scan import VOLUME_BYTES

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "PALETTE COLOR")


def matrix(dataset: FileDataset) -> tuple[int, int]:
    """``(columns, rows)``, both at least 1."""
    columns, rows = whole_number(dataset, "Columns"), whole_number(dataset, "Rows")
    if columns < 1 or rows < 1:
        raise SourceError(f"Rows and Columns must be at least 1, got {rows} and {columns}")
    return columns, rows


def decode(dataset: FileDataset) -> np.ndarray:
    """Stored values of a single frame: ``(row, column)`` grey or ``(row, column, 3)`` RGB.

    Palettes are applied, YBR becomes RGB; MONOCHROME1 is left as stored.

    Raises:
        SourceError: the pixel module contradicts itself or the data, or the stream cannot be decoded.
    """
    columns, rows = matrix(dataset)
    photometric = _check_module(dataset, columns, rows)
    try:
        array = pixel_array(dataset)
        if photometric == "PALETTE COLOR":
            array = _eight_bit(apply_color_lut(array, dataset))
    except MemoryError as error:
        raise SourceError("decoding the pixels needs more memory than is allowed") from error
    except Exception as error:
        syntax = UID(dataset.file_meta.get("TransferSyntaxUID", "")).name or "missing"
        raise SourceError(f"pixels cannot be decoded ({type(error).__name__}; transfer syntax {syntax})") from error
    expected = (rows, columns) if photometric in _GREY else (rows, columns, 3)
    if array.shape != expected:
        raise SourceError(f"decoded pixels must have shape {expected}, got {array.shape}")
    return array


def rescale(dataset: FileDataset) -> tuple[float, float]:
    """``(slope, intercept)`` of the modality rescale; ``(1, 0)`` where none is given.

    Raises:
        SourceError: a slope of 0, which would make the image constant.
    """
    slope = numbers(dataset, "RescaleSlope", 1) or (1.0,)
    intercept = numbers(dataset, "RescaleIntercept", 1) or (0.0,)
    if slope[0] == 0:
        raise SourceError("RescaleSlope is 0, which makes the image constant")
    return slope[0], intercept[0]


def inverted(array: np.ndarray, bits_stored: int, signed: bool) -> np.ndarray:
    """MONOCHROME1 as MONOCHROME2: the smallest storable value becomes the largest."""
    ends = -1 if signed else (1 << bits_stored) - 1
    return (ends - array.astype(np.int64)).astype(array.dtype)


def _check_module(dataset: FileDataset, columns: int, rows: int) -> str:
    photometric = text(dataset, "PhotometricInterpretation")
    samples = whole_number(dataset, "SamplesPerPixel", 1)
    allocated = whole_number(dataset, "BitsAllocated")
    stored = whole_number(dataset, "BitsStored", allocated)
    if photometric not in _GREY + _COLOUR:
        raise SourceError(f"PhotometricInterpretation must be one of {', '.join(_GREY + _COLOUR)}; this one is not")
    if samples != (1 if photometric in (*_GREY, "PALETTE COLOR") else 3):
        raise SourceError(f"{photometric} and {samples} samples per pixel do not agree")
    if not 1 <= stored <= allocated:
        raise SourceError(f"BitsStored must be 1 … BitsAllocated, got {stored} of {allocated}")
    if columns * rows * samples * max(allocated, 8) // 8 > VOLUME_BYTES:
        raise SourceError(f"{columns} x {rows} pixels are more than {VOLUME_BYTES / 2**30:.0f} GiB")
    _check_length(dataset, columns * rows * samples * allocated, photometric)
    return photometric


def _check_length(dataset: FileDataset, bits: int, photometric: str) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise SourceError("the file states no TransferSyntaxUID")
    if not UID(syntax).is_transfer_syntax or UID(syntax).is_private:
        raise SourceError(f"transfer syntax {str(syntax)[:64]} is not one that can be decoded")
    try:
        data = dataset.get("PixelData")
    except Exception as error:
        raise SourceError(f"pixel data cannot be read ({type(error).__name__})") from error
    if not data:
        raise SourceError("the file has no pixel data")
    if UID(syntax).is_compressed and str(syntax) != "1.2.840.10008.1.2.1.99":
        return
    if photometric == "YBR_FULL_422":
        bits = bits * 2 // 3
    need = (bits + 7) // 8
    if len(data) not in (need, need + need % 2):
        raise SourceError(f"the header calls for {need} bytes of pixels, {len(data)} are there")


def _eight_bit(colours: np.ndarray) -> np.ndarray:
    return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
