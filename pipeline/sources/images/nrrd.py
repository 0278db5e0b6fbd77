"""NRRD: scans in the patient's frame, attached or with detached data files beside the header."""

from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.images.arriving import Encoding
from pipeline.sources.images.nrrd_axes import NrrdAxes, axes_of, grid_of
from pipeline.sources.images.nrrd_header import NrrdHeader, read_nrrd_header, relative_data_file
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan
from pipeline.sources.streams import Format, Inflated

_READ_BYTES = 512 << 10
_STREAMS: dict[str, Format | None] = {"raw": None, "text": None, "hex": None, "gzip": "gzip", "bzip2": "bzip2"}
_CHARACTERS_A_NUMBER = 40
_SEGMENTATION_KEYS = ("Segment0_", "Segmentation_")


def load_nrrd(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """Voxels ``(channel, i, j[, k])`` on their grid in RAS mm; a list or time axis gives one scan an entry.

    Vectors and colours are channels (opaque alpha is dropped). A plane without a world lies in mm where it states
    spacings with units, else in pixels.

    Args:
        paths: the file, or the detached header and its data files in order.
        options: none of them concerns NRRD.

    Raises:
        SourceError: not a readable NRRD file, too large, an axis of unknown meaning, values that are not finite.
        GeometryError: the orientation of a volume is not stated, or is not the patient's.
    """
    stored, grid, header, axes = _read(paths[0], paths[1:])
    if is_segmentation(header.pairs):
        raise SourceError("the NRRD describes segments (3D Slicer's .seg.nrrd): it annotates a scan and is none")
    volumes = stored.shape[0]
    scans = []
    for number in range(volumes):
        image = Encoding((1, 1, 1, 1), stored.dtype).values(stored[number])
        if axes.colour == 4:
            image = _opaque(image)
        attributes = {"format": "nrrd"}
        if volumes > 1:
            attributes["volume"] = f"{number + 1} of {volumes}"
        part = f"volume {number + 1} of {volumes}" if volumes > 1 else ""
        scans.append(LoadedScan(image, grid, "OT", attributes, part=part))
    return scans


def read_nrrd(path: Path, data_files: list[Path] | None = None) -> tuple[np.ndarray, Grid, dict[str, str]]:
    """``(layer, i, j[, k])`` as stored, the grid, and the header's fields with its key/value pairs.

    Every entry of a list, time or channel axis is a layer. Fields are in lower case, keys as written.

    Args:
        path: the file, attached or a detached header.
        data_files: where its data files are; beside it by default.

    Raises:
        SourceError, GeometryError: as `load_nrrd`.
    """
    stored, grid, header, _ = _read(path, data_files)
    layers = stored.reshape(-1, *stored.shape[2:])
    return layers.astype(layers.dtype.newbyteorder("="), copy=False), grid, {**header.pairs, **header.fields}


def is_segmentation(fields: dict[str, str]) -> bool:
    """Whether the header's keys describe segments (3D Slicer's ``.seg.nrrd``)."""
    return any(key.startswith(_SEGMENTATION_KEYS) for key in fields)


def _read(path: Path, data_files: list[Path] | None) -> tuple[np.ndarray, Grid, NrrdHeader, NrrdAxes]:
    """Stored numbers ``(volume, channel, i, j[, k])``."""
    with path.open("rb") as stream:
        header = read_nrrd_header(stream)
    axes = axes_of(header)
    grid = grid_of(header, axes)
    if header.nbytes > VOLUME_BYTES:
        raise SourceError(
            f"NRRD of sizes {header.sizes} needs {header.nbytes / 2**30:.1f} GiB, more than {VOLUME_BYTES >> 30} GiB"
        )
    if not header.data_files:
        data_files = []
    elif not data_files:
        data_files = [path.parent / relative_data_file(name) for name in header.data_files]
    array = _values(header, path, data_files).reshape(header.sizes, order="F")
    front = [axis for axis in (axes.volumes, axes.channel) if axis is not None]
    array = array.transpose([*front, *axes.space])
    if axes.channel is None:
        array = np.expand_dims(array, len(front))
    return (array if axes.volumes is not None else array[None]), grid, header, axes


def _values(header: NrrdHeader, path: Path, data_files: list[Path]) -> np.ndarray:
    """All numbers in stored order."""
    if not data_files:
        return _numbers(header, path, header.start, header.nbytes)
    if header.nbytes % len(data_files):
        raise SourceError(f"{header.nbytes} bytes cannot be shared by {len(data_files)} data files")
    share = header.nbytes // len(data_files)
    return np.concatenate([_numbers(header, one, 0, share) for one in data_files])


def _numbers(header: NrrdHeader, path: Path, start: int, size: int) -> np.ndarray:
    if not path.is_file() or path.is_symlink():
        raise SourceError("a data file that the NRRD header names is not there")
    try:
        with Inflated(path, _STREAMS[header.encoding], _READ_BYTES, start) as stream:
            _skip(stream, header, path.stat().st_size - start, size)
            data = _text(stream, header, size) if header.encoding in ("text", "hex") else _read_all(stream, size)
            if stream.compressed and stream.read(1):
                raise SourceError(f"the NRRD's data are longer than its sizes {header.sizes} say")
    except (EOFError, OSError) as error:
        raise SourceError("the NRRD's data are damaged or cut") from error
    if len(data) < size:
        raise SourceError(f"the NRRD's data are cut: sizes {header.sizes} need {size} bytes, {len(data)} are there")
    return data.view(header.dtype)


def _skip(stream: Inflated, header: NrrdHeader, there: int, size: int) -> None:
    lines, count = header.whole("line skip"), header.whole("byte skip")
    if lines < 0 or count < -1 or (count == -1 and header.encoding != "raw"):
        raise SourceError(f"NRRD's line skip and byte skip must be 0 or more, got {lines} and {count}")
    if lines and stream.compressed:
        raise SourceError("NRRD's line skip is read for data that are not compressed only")
    for _ in range(lines):
        while stream.read(1) not in (b"\n", b""):
            pass
    left = there - size if count == -1 else count  # -1: the data are the end of the file
    while left > 0 and (piece := stream.read(min(left, _READ_BYTES))):
        left -= len(piece)


def _read_all(stream: Inflated, size: int) -> np.ndarray:
    buffer = np.empty(size, np.uint8)
    at = 0
    while at < size and (piece := stream.read(size - at)):
        buffer[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return buffer[:at]


def _text(stream: Inflated, header: NrrdHeader, size: int) -> np.ndarray:
    count = size // header.dtype.itemsize
    text = _read_all(stream, count * _CHARACTERS_A_NUMBER).tobytes()
    try:
        if header.encoding == "hex":
            return np.frombuffer(bytes.fromhex(text.decode("ascii"))[:size], np.uint8)
        words = text.split()[: count + 1]
        if len(words) != count:
            raise SourceError(f"the NRRD's text holds {len(words)} numbers, its sizes {header.sizes} need {count}")
        return np.array([float(word) if header.dtype.kind == "f" else int(word) for word in words], header.dtype).view(
            np.uint8
        )
    except (ValueError, OverflowError) as error:
        raise SourceError("the NRRD's text holds something that is no number of its type") from error


def _opaque(image: np.ndarray) -> np.ndarray:
    full = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1
    if (image[-1] != full).any():
        raise SourceError("the NRRD has transparent voxels: flatten it first")
    return image[:-1]
