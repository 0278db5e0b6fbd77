"""The header of NIfTI-1 and NIfTI-2, checked for contradictions before anything is allocated."""

from dataclasses import dataclass
from math import prod

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.images.nifti_affine import affine_of
from pipeline.sources.images.nifti_fields import NiftiFields, byte_order
from pipeline.sources.scan import VOLUME_BYTES
from pipeline.types import Affine

_NUMBERS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COLOURS = {128: 3, 2304: 4}  # RGB24, RGBA32: bytes, the channels of a voxel side by side
_OTHER_TYPES = {1: "single bits", 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256"}
_VECTOR_INTENT = 1007
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_LARGEST_OFFSET = 1 << 30
_MOST_VOLUMES = 20_000
_ALL_BYTES = 64 << 30


@dataclass(frozen=True)
class NiftiHeader:
    """What the file says, checked.

    ``shape`` is ``(i, j, k)``; ``volumes`` of them follow each other, ``channels`` values a voxel. ``interleaved``
    says that a voxel's channels lie side by side (colour), else each channel is a volume by itself (NIfTI's 5th
    dimension). ``affine`` is voxel index → RAS mm. ``times_s`` are the start and step of the volumes in seconds.
    ``offset`` is where the voxels begin in their file, which is another one where ``pair`` is true.
    """

    shape: tuple[int, int, int]
    volumes: int
    channels: int
    interleaved: bool
    dtype: np.dtype
    slope: float
    intercept: float
    affine: Affine
    times_s: tuple[float, float] | None
    offset: int
    pair: bool
    notes: tuple[str, ...]

    @property
    def volume_bytes(self) -> int:
        return prod(self.shape) * self.channels * self.dtype.itemsize


def header_size(start: bytes) -> int:
    """348 (NIfTI-1) or 540 (NIfTI-2) by the first four bytes.

    Raises:
        SourceError: neither.
    """
    return byte_order(start)[1]


def parse_header(block: bytes) -> NiftiHeader:
    """The header in ``block``, of `header_size` bytes.

    Raises:
        SourceError: contradicting, not supported, or larger than is read.
        GeometryError: no orientation is stated, or the statements contradict each other.
    """
    raw = NiftiFields(block)
    shape, volumes, channels, interleaved = _layout(raw)
    dtype = _dtype(raw)
    _check_size(shape, volumes, channels, dtype)
    slope, intercept = _scaling(raw, interleaved)
    affine, notes = affine_of(raw, shape)
    return NiftiHeader(
        shape=shape,
        volumes=volumes,
        channels=channels,
        interleaved=interleaved,
        dtype=dtype,
        slope=slope,
        intercept=intercept,
        affine=affine,
        times_s=_times(raw) if volumes > 1 else None,
        offset=_offset(raw),
        pair=raw.pair,
        notes=notes,
    )


def _layout(raw: NiftiFields) -> tuple[tuple[int, int, int], int, int, bool]:
    """``(i, j, k)``, volumes, channels, and whether the channels lie side by side."""
    dim = [int(n) for n in raw.numbers("dim")]
    if not 2 <= dim[0] <= 7:
        raise SourceError(f"dim[0] must be 2 … 7, got {dim[0]}")
    stated = dim[1 : dim[0] + 1]
    if min(stated) < 1:
        raise SourceError(f"every dimension must be at least 1, got {tuple(stated)}")
    i, j, k, volumes, vector, *rest = stated + [1] * (7 - len(stated))
    if any(n != 1 for n in rest):
        raise SourceError(f"expected up to 5 dimensions, got {tuple(stated)}: dim[6] and dim[7] have no meaning here")
    colour = _COLOURS.get(raw.code("datatype"), 0)
    if vector > 1 and (raw.code("intent") != _VECTOR_INTENT or colour):
        raise SourceError(
            f"dim[5] = {vector} holds several values a voxel with intent code {raw.code('intent')}; only vectors "
            f"(intent {_VECTOR_INTENT}) are read, as channels"
        )
    return (i, j, k), volumes, colour or vector, bool(colour)


def _dtype(raw: NiftiFields) -> np.dtype:
    code = raw.code("datatype")
    if code in _OTHER_TYPES:
        raise SourceError(f"expected integer or real voxels of up to 8 bytes, got {_OTHER_TYPES[code]}")
    if code not in _NUMBERS and code not in _COLOURS:
        raise SourceError(f"datatype code {code} is not one of NIfTI's")
    dtype = np.dtype(raw.order + _NUMBERS.get(code, "u1"))
    bits, stated = 8 * dtype.itemsize * _COLOURS.get(code, 1), raw.code("bitpix")
    if stated not in (0, bits):
        raise SourceError(f"datatype code {code} has {bits} bits a voxel, bitpix says {stated}")
    return dtype


def _check_size(shape: tuple[int, ...], volumes: int, channels: int, dtype: np.dtype) -> None:
    need = prod(shape) * channels * dtype.itemsize
    if need > VOLUME_BYTES:
        raise SourceError(f"dimensions {shape} need {need / 2**30:.1f} GiB, more than {VOLUME_BYTES / 2**30:.0f} GiB")
    if volumes > _MOST_VOLUMES or need * volumes > _ALL_BYTES:
        raise SourceError(
            f"{volumes} volumes of {shape} need {need * volumes / 2**30:.1f} GiB; at most {_MOST_VOLUMES} volumes "
            f"and {_ALL_BYTES / 2**30:.0f} GiB are read from one file: split it"
        )


def _scaling(raw: NiftiFields, colour: bool) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means no scaling, and colours have none (nifti1.h)."""
    slope, intercept = raw.number("scl_slope"), raw.number("scl_inter")
    if slope == 0 or np.isnan(slope) or colour:
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise SourceError(f"scl_slope and scl_inter must be finite, got {slope} and {intercept}")
    return slope, intercept


def _offset(raw: NiftiFields) -> int:
    minimum = 0 if raw.pair else raw.size + 4
    stated = raw.number("vox_offset")
    possible = stated == 0 or minimum <= stated <= _LARGEST_OFFSET
    if not possible or stated != int(stated):
        raise SourceError(f"vox_offset must be whole and {minimum} … {_LARGEST_OFFSET}, got {stated}")
    return int(stated) or minimum


def _times(raw: NiftiFields) -> tuple[float, float] | None:
    seconds = _SECONDS.get(raw.code("units") & 0x38)
    start, step = raw.number("toffset"), raw.numbers("pixdim")[4]
    if seconds is None or not np.isfinite([start, step]).all() or step <= 0:
        return None
    return start * seconds, step * seconds
