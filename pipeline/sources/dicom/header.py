"""A DICOM file's header: what it is, and which series it belongs to."""

import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pydicom
from pydicom.dataset import FileDataset

from pipeline.errors import SourceError
from pipeline.sources.scan import VOLUME_BYTES

_CROSS_SECTIONAL = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.128": "PET Image Storage",
}
_MULTI_FRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.4.3": "Enhanced MR Color",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.3.1": "Ultrasound Multi-frame",
    "1.2.840.10008.5.1.4.1.1.20": "Nuclear Medicine",
}
# One picture a file: projection X-ray, ultrasound, secondary capture, visible light.
_PLANE_PREFIXES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{leaf}" for leaf in ("1", "1.1", "1.2", "1.3", "6.1", "7", "12.1", "12.2", "77.1")
)
_DEFLATED = b"1.2.840.10008.1.2.1.99"
HEADER_BYTES = 256 << 20

HeaderKind = Literal["slice", "plane", "ignored"]


@dataclass(frozen=True)
class Header:
    """What the index needs to know of one DICOM file. Identifiers are raw and stay inside the process."""

    kind: HeaderKind
    series_uid: str = field(default="", repr=False)
    instance_uid: str = field(default="", repr=False)
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "series_uid": self.series_uid,
            "instance_uid": self.instance_uid,
            "reason": self.reason,
        }


def read_header(path: Path) -> Header:
    """Classify one file.

    Raises:
        SourceError: not DICOM, cut inside the header, or an image without the identifiers that tie it to a series.
    """
    dataset = open_dataset(path)
    sop_class = text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if not sop_class:
        raise SourceError("no SOPClassUID is found: not DICOM, cut or damaged")
    if not pydicom.uid.UID(sop_class).is_valid:
        raise SourceError("SOPClassUID is no valid identifier: the header is damaged")
    series_uid, instance_uid = text(dataset, "SeriesInstanceUID"), text(dataset, "SOPInstanceUID")
    name = pydicom.uid.UID(sop_class).name
    kind = _kind(sop_class)
    if kind == "ignored":
        return Header("ignored", series_uid, instance_uid, f"a DICOM object without scan voxels ({name})")
    for keyword, value in (("SeriesInstanceUID", series_uid), ("SOPInstanceUID", instance_uid)):
        if not value:
            raise SourceError(f"the image has no {keyword}, so it cannot be tied to a series")
    return Header(kind, series_uid, instance_uid)


def _kind(sop_class: str) -> HeaderKind:
    if sop_class in _CROSS_SECTIONAL or sop_class in _MULTI_FRAME:
        return "slice" if sop_class in _CROSS_SECTIONAL else "plane"
    if any(sop_class == prefix or sop_class.startswith(prefix + ".") for prefix in _PLANE_PREFIXES):
        return "plane"
    return "ignored"


def is_cross_sectional(sop_class: str) -> bool:
    return sop_class in _CROSS_SECTIONAL


def multi_frame_name(sop_class: str) -> str | None:
    """The name of a class whose files hold many frames, else `None`."""
    return _MULTI_FRAME.get(sop_class)


def open_dataset(path: Path, pixels: bool = False) -> FileDataset:
    """Read a data set, with or without its pixel data.

    A file is read as a whole before its elements are taken from it, so that an element's declared length allocates
    nothing; a deflated file is inflated within `HEADER_BYTES` first.

    Raises:
        SourceError: not DICOM, cut, or larger than it may be.
    """
    try:
        with _stream(path, pixels) as stream:
            head = stream.read(2048)
            if _DEFLATED in head:
                _check_inflated_size(stream)
            stream.seek(0)
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels, force=head[128:132] != b"DICM")
        if pixels:
            _check_whole(dataset)
        return dataset
    except SourceError:
        raise
    except RecursionError as error:
        raise SourceError("the DICOM header nests sequences without end") from error
    except MemoryError as error:
        raise SourceError("reading the DICOM header needs more memory than is allowed") from error
    except Exception as error:
        # The reader's own message may quote a header value, so only its kind is told.
        raise SourceError(f"not a readable DICOM file ({type(error).__name__}): damaged or cut") from error


def text(dataset: FileDataset, keyword: str) -> str:
    """A header value as text, empty where it is missing or cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:
        return ""
    return "" if value is None else str(value).strip("\0 ")


def modality(dataset: FileDataset) -> str:
    """DICOM's Modality; ``OT`` where it is missing or no code."""
    code = text(dataset, "Modality")
    return code if code.isalnum() and len(code) <= 16 else "OT"


def whole_number(dataset: FileDataset, keyword: str, default: int | None = None) -> int:
    """A header value as an integer.

    Raises:
        SourceError: missing without default, or not a whole number.
    """
    numbers = _values(dataset, keyword)
    if not numbers and default is not None:
        return default
    if len(numbers) != 1 or numbers[0] != int(numbers[0]):
        raise SourceError(f"{keyword} must be one whole number, got {_count(numbers)}")
    return int(numbers[0])


def numbers(dataset: FileDataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or `None` where the element is missing or empty.

    Raises:
        SourceError: another count, or values that are not finite numbers.
    """
    values = _values(dataset, keyword)
    if not values:
        return None
    if len(values) != count:
        raise SourceError(f"{keyword} must hold {count} numbers, got {len(values)}")
    if not all(abs(value) < float("inf") for value in values):
        raise SourceError(f"{keyword} must be finite, got {list(values)}")
    return values


def _values(dataset: FileDataset, keyword: str) -> tuple[float, ...]:
    try:
        value: Any = dataset.get(keyword)
        if value is None or value == "":
            return ()
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
            value = [value]
        return tuple(float(one) for one in value)
    except Exception as error:
        raise SourceError(f"{keyword} does not hold numbers") from error


def _count(values: tuple[float, ...]) -> str:
    return "nothing" if not values else str(list(values))


def _stream(path: Path, whole: bool) -> BinaryIO:
    if not whole:
        return path.open("rb")
    size = path.stat().st_size
    if size > VOLUME_BYTES:
        raise SourceError(f"the file has {size / 2**30:.1f} GiB, more than {VOLUME_BYTES / 2**30:.0f} GiB")
    return BytesIO(path.read_bytes())


def _check_whole(dataset: FileDataset) -> None:
    """pydicom hands over what it could read; a file that is cut shows in its last element, or in none at all."""
    if "PixelData" not in dataset:
        raise SourceError("the file ends before or inside its pixel data")
    last = dataset.get_item(max(dataset.keys()))
    declared, value = getattr(last, "length", None), getattr(last, "value", None)
    if isinstance(value, bytes) and declared not in (None, 0xFFFFFFFF) and len(value) < declared:
        raise SourceError(f"the file is cut: its last element declares {declared} bytes, {len(value)} are there")


def _check_inflated_size(stream: BinaryIO) -> None:
    stream.seek(0)
    meta = pydicom.filereader.read_partial(stream, lambda tag, *_: tag >= 0x00030000).file_meta
    if meta.get("TransferSyntaxUID", "").encode() != _DEFLATED:
        return
    stream.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for block in iter(lambda: stream.read(1 << 16), b""):
        pending = block
        while pending:
            total += len(inflate.decompress(pending, 1 << 22))
            if total > HEADER_BYTES:
                raise SourceError(f"deflated data grow beyond {HEADER_BYTES >> 20} MiB: refused")
            pending = inflate.unconsumed_tail
