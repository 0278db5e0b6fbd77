"""NIfTI-1 and NIfTI-2 files, plain or gzipped, one 3D volume each.

The header is taken as written: nibabel's loader repairs faults (zero or negative pixdim, infinite scaling) without
a word, so its repairs are not used.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan
from pipeline.types import Affine

_MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3, "unknown": 1.0}
# NIfTI-1: code 1 is the scanner's frame, 2 another scan's, 3 and 4 are atlases, which may rightly lie elsewhere.
_PATIENT_CODES = (1, 2)
_DISAGREEMENT_VOXELS = 0.5
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAGIC = {348: b"n+1", 540: b"n+2"}


def load_nifti(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """Voxels ``(1, i, j, k)`` in the file's own storage order, scaled, on their grid in RAS mm.

    A 2D file is one slice. Trailing axes of length 1 are dropped. ``scl_slope`` of 0 or NaN means no scaling
    (NIfTI-1). Without a stated unit millimetres are meant, and a note says so.

    Raises:
        SourceError: not a readable NIfTI file, more than three axes, too large, colour or complex voxels, values
            that are not numbers.
        GeometryError: no orientation is stated, or the statements contradict each other.
    """
    (path,) = paths
    with _stream(path) as stream:
        try:
            header = _header(stream)
            shape = _shape(header)
            scaling = _scaling(header)
            affine, notes = _affine(header, shape)
            grid = Grid(shape, affine)
            raw = _voxels(stream, header, shape)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError("the gzip stream is damaged or cut") from error
    return [LoadedScan(_scaled(raw, scaling)[None], grid, "OT", {"format": "nifti"}, notes=notes)]


def _stream(path: Path) -> IO[bytes]:
    with path.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else path.open("rb")


def _header(stream: IO[bytes]) -> nib.Nifti1Header:
    start = stream.read(4)
    sizes = [struct.unpack(order + "i", start)[0] for order in "<>"] if len(start) == 4 else []
    size = next((n for n in sizes if n in _HEADERS), None)
    if size is None:
        raise SourceError(f"expected a NIfTI header of 348 or 540 bytes, found {sizes or 'an empty file'}")
    block = start + stream.read(size - 4)
    if len(block) < size:
        raise SourceError(f"the header is cut: {len(block)} of {size} bytes")
    header = _HEADERS[size](block, endianness="<" if sizes[0] == size else ">", check=False)
    magic = bytes(header["magic"].tobytes())[:3]
    if magic != _MAGIC[size]:
        raise SourceError(f"expected the magic {_MAGIC[size]!r} of a single-file NIfTI, found {magic!r}")
    return header


def _shape(header: nib.Nifti1Header) -> tuple[int, int, int]:
    dims = int(header["dim"][0])
    if not 2 <= dims <= 7:
        raise SourceError(f"dim[0] must be 2 … 7, got {dims}")
    stated = tuple(int(n) for n in header["dim"][1 : dims + 1])
    if min(stated) < 1:
        raise SourceError(f"every dimension must be at least 1, got {stated}")
    if any(n != 1 for n in stated[3:]):
        raise SourceError(f"expected one 3D volume, got dimensions {stated}: split the series into volumes")
    shape = (stated[0], stated[1], stated[2] if dims > 2 else 1)
    need = float(np.prod(shape, dtype=float)) * _dtype(header).itemsize
    if need > VOLUME_BYTES:
        raise SourceError(f"dimensions {stated} need {need / 2**30:.1f} GiB, more than {VOLUME_BYTES / 2**30:.0f} GiB")
    return shape


def _dtype(header: nib.Nifti1Header) -> np.dtype:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:
        raise SourceError(f"datatype code {int(header['datatype'])} is not one of NIfTI's") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SourceError(f"expected integer or real voxels, got {dtype}")
    return dtype


def _scaling(header: nib.Nifti1Header) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise SourceError(f"scl_slope and scl_inter must be finite, got {slope} and {intercept}")
    return slope, intercept


def _affine(header: nib.Nifti1Header, shape: tuple[int, ...]) -> tuple[Affine, tuple[str, ...]]:
    """Voxel index → RAS mm, ``(4, 4)``: the sform, else the qform."""
    steps = np.asarray(header["pixdim"][1 : 1 + min(int(header["dim"][0]), 3)], dtype=float)
    if not np.isfinite(steps).all() or (steps <= 0).any():
        raise GeometryError(f"pixdim must be above 0, got {steps.tolist()}")
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    if s_code <= 0 and q_code <= 0:
        raise GeometryError("neither sform nor qform is given (codes 0), so the orientation is not known")
    qform = _qform(header) if q_code > 0 else None
    affine = header.get_sform().astype(float) if s_code > 0 else qform
    assert affine is not None
    if s_code > 0 and (not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12):
        raise GeometryError(f"the sform must be invertible, got {affine[:3].tolist()}")
    if s_code > 0 and qform is not None:
        _check_agreement(affine, qform, s_code in _PATIENT_CODES and q_code in _PATIENT_CODES, shape)
    unit = str(header.get_xyzt_units()[0]) if int(header["xyzt_units"]) & 7 in (0, 1, 2, 3) else "unknown"
    affine = np.diag([_MILLIMETRES[unit]] * 3 + [1.0]) @ affine
    notes = ("the spatial unit is not stated; taken as millimetres",) if unit == "unknown" else ()
    return affine, notes


def _qform(header: nib.Nifti1Header) -> Affine:
    try:
        return np.asarray(header.get_qform(), dtype=float)
    except Exception as error:
        raise GeometryError("the qform's quaternion is not a rotation") from error


def _check_agreement(sform: Affine, qform: Affine, one_frame: bool, shape: tuple[int, ...]) -> None:
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise GeometryError("sform and qform disagree: one is mirrored (left and right would be swapped); set one to 0")
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    apart = np.linalg.norm(corners @ (sform - qform)[:3, :3].T + (sform - qform)[:3, 3], axis=1).max()
    tolerance = _DISAGREEMENT_VOXELS * float(np.linalg.norm(sform[:3, :3], axis=0).min())
    if one_frame and apart > tolerance:
        raise GeometryError(f"sform and qform disagree by up to {apart:.2f} mm (over {tolerance:.2f}); set one to 0")


def _voxels(stream: IO[bytes], header: nib.Nifti1Header, shape: tuple[int, int, int]) -> np.ndarray:
    """``(i, j, k)`` as stored, in native byte order."""
    dtype = _dtype(header)
    minimum = header.single_vox_offset
    offset = float(header["vox_offset"])
    if not np.isfinite(offset) or 0 < offset < minimum or offset < 0:
        raise SourceError(f"vox_offset must be at least {minimum}, got {offset}")
    stream.seek(int(offset) or minimum)
    need = int(np.prod(shape)) * dtype.itemsize
    data = stream.read(need)
    if len(data) < need:
        raise SourceError(f"voxel data are cut: dimensions {shape} need {need} bytes, {len(data)} are there")
    array = np.frombuffer(data, dtype).reshape(shape, order="F")
    return array.astype(dtype.newbyteorder("="))


def _scaled(raw: np.ndarray, scaling: tuple[float, float]) -> np.ndarray:
    slope, intercept = scaling
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise SourceError(f"{int((~np.isfinite(raw)).sum())} of {raw.size} voxels are not finite numbers")
    if (slope, intercept) != (1.0, 0.0):
        return (raw * np.float64(slope) + intercept).astype(np.float32)
    return raw.astype(np.float32) if raw.dtype == np.float64 else raw
