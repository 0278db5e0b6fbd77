"""NIfTI-1 and NIfTI-2: ``.nii``, ``.hdr`` with ``.img``, each of them plain or gzipped; several volumes in time."""

from pathlib import Path

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.images.arriving import Encoding, Stream, StreamedImage, Volumes
from pipeline.sources.images.nifti_header import NiftiHeader, header_size, parse_header
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan
from pipeline.sources.streams import Inflated, archive_format

_READ_BYTES = 128 << 10  # of compressed data at a time; measured on a CT
_RGBA = 4
# What may follow the voxels: it is read to reach the checksum at the end of a gzip stream, but not without end.
_TRAILING_BYTES = 64 << 20


def load_nifti(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """Voxels ``(channel, i, j, k)`` in the file's own storage order, scaled, on their grid in RAS mm.

    A 2D file is one slice. Each volume of a file with a time axis is a scan of its own, with its time as an attribute
    where the file states a unit. RGB is three channels, so is RGBA that is opaque; a vector (NIfTI's 5th dimension) is
    as many channels. ``scl_slope`` of 0 or NaN means no scaling. Voxels are read while they are used, one volume in
    memory at a time: a fault in them shows then.

    Args:
        paths: one file, or the header and the voxels of a pair, in this order.
        options: none of them concerns NIfTI.

    Raises:
        SourceError: not a readable NIfTI file, too large, complex or other voxels, values that are not numbers.
        GeometryError: no orientation is stated, or the statements contradict each other.
    """
    header = _read_header(paths[0])
    if header.pair != (len(paths) == 2):
        wanted = "a pair of .hdr and .img" if header.pair else "a single file"
        raise SourceError(f"the header is that of {wanted}, got {len(paths)} file(s)")
    grid = Grid(header.shape, header.affine)
    notes = list(header.notes)
    spare = _spare_bytes(paths[-1], header)
    if spare:
        notes.append(f"{spare} bytes follow the voxels and are not read")
    volumes = _volumes(paths[-1], header)
    if header.volumes == 1:
        volumes.volume(0)  # inflates while the caller gets ready
    return [_scan(header, grid, volumes, number, tuple(notes)) for number in range(header.volumes)]


def _scan(header: NiftiHeader, grid: Grid, volumes: Volumes, number: int, notes: tuple[str, ...]) -> LoadedScan:
    attributes = {"format": "nifti"}
    part = ""
    if header.volumes > 1:
        part = f"volume {number + 1} of {header.volumes}"
        attributes["volume"] = f"{number + 1} of {header.volumes}"
        if header.times_s is not None:
            attributes["time_s"] = f"{header.times_s[0] + number * header.times_s[1]:.6g}"
    return LoadedScan(StreamedImage(volumes, number), grid, "OT", attributes, notes=notes, part=part)


def _read_header(path: Path) -> NiftiHeader:
    with _open(path) as stream:
        try:
            start = _read(stream, 4)
            size = header_size(start)
            block = start + _read(stream, size - 4)
        except (EOFError, OSError) as error:
            raise SourceError("the gzip stream is damaged or cut") from error
    if len(block) < size:
        raise SourceError(f"the header is cut: {len(block)} of {size} bytes")
    return parse_header(block)


def _volumes(path: Path, header: NiftiHeader) -> Volumes:
    encoding = Encoding(
        shape=(header.channels, *header.shape),
        dtype=header.dtype,
        slope=header.slope,
        intercept=header.intercept,
        interleaved=header.interleaved,
        opaque_alpha=header.interleaved and header.channels == _RGBA,
    )

    def begin() -> Stream:
        stream = _open(path)
        try:
            skipped = _read(stream, header.offset)
        except (EOFError, OSError) as error:
            raise SourceError("the gzip stream is damaged or cut") from error
        if len(skipped) < header.offset:
            raise SourceError(f"the file ends before its voxels, which should begin at byte {header.offset}")
        return stream

    return Volumes(encoding, header.volumes, begin, _end)


def _end(stream: Stream) -> None:
    """Read to the end, where a gzip stream holds its checksum."""
    assert isinstance(stream, Inflated)
    follow = 0
    while stream.compressed and (piece := stream.read(_READ_BYTES)):
        follow += len(piece)
        if follow > _TRAILING_BYTES:
            raise SourceError(f"more than {_TRAILING_BYTES >> 20} MiB follow the voxels that the header states")
    stream.close()


def _spare_bytes(path: Path, header: NiftiHeader) -> int:
    """Bytes behind the voxels of a file that is not compressed."""
    with path.open("rb") as stream:
        if archive_format(stream.read(8)) == "gzip":
            return 0
    there = path.stat().st_size - header.offset
    need = header.volume_bytes * header.volumes
    if there < need:
        raise SourceError(
            f"voxel data are cut: dimensions {header.shape} x {header.volumes} need {need} bytes, {max(there, 0)} are "
            "there"
        )
    return there - need


def _open(path: Path) -> Inflated:
    with path.open("rb") as stream:
        form = archive_format(stream.read(8))
    return Inflated(path, "gzip" if form == "gzip" else None, _READ_BYTES)


def _read(stream: Inflated, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return bytes(data)
