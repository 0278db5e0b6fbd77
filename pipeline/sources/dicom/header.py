"""A DICOM file's header: what it is, and which series it belongs to."""

import io
import logging
import os
import re
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import SourceError
from pipeline.sources.dicom.elements import HandOver, scan_header, scan_meta
from pipeline.sources.dicom.sop_classes import HeaderKind, kind_of
from pipeline.sources.dicom.transfer_syntaxes import DEFLATED
from pipeline.sources.scan import VOLUME_BYTES

if TYPE_CHECKING:  # importing it takes longer than reading a series
    from pydicom.dataset import FileDataset

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_OPTIONAL = ("ConcatenationUID",)
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*")
HEADER_BYTES = 256 << 20
_LAST_FIRST_GROUP = 8
_UNDEFINED, _DELIMITER_BYTES = 0xFFFFFFFF, 8


class Values(Protocol):
    """Header values by DICOM keyword: a pydicom data set, or what `elements` read."""

    def get(self, keyword: str, /) -> Any: ...


@dataclass(frozen=True)
class Header:
    """What the index needs to know of one DICOM file. Identifiers are raw and stay inside the process."""

    kind: HeaderKind
    series_uid: str = field(default="", repr=False)
    instance_uid: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    sop_class: str = ""
    reason: str = ""
    concatenation_uid: str = field(default="", repr=False)

    def to_json(self) -> dict[str, str]:
        return dict(vars(self))


def read_header(path: Path) -> Header:
    """Classify one file.

    Raises:
        SourceError: not DICOM, cut inside the header, or an image without the identifiers that tie it to a series.
    """
    values, media_class = _index_values(path)
    sop_class = text(values, "SOPClassUID") or media_class
    if not sop_class:
        raise SourceError("no SOPClassUID is found: not DICOM, cut or damaged")
    if len(sop_class) > 64 or not _UID.fullmatch(sop_class):
        raise SourceError("SOPClassUID is no valid identifier: the header is damaged")
    kind = kind_of(sop_class)
    if kind == "ignored" and not text(values, "SOPClassUID"):
        raise SourceError("the data set behind the file meta group has no SOPClassUID: cut or damaged")
    header = Header(
        kind=kind,
        series_uid=text(values, "SeriesInstanceUID"),
        instance_uid=text(values, "SOPInstanceUID"),
        study_uid=text(values, "StudyInstanceUID"),
        sop_class=sop_class,
        reason=_why_ignored(sop_class) if kind == "ignored" else "",
        concatenation_uid=text(values, "ConcatenationUID"),
    )
    if kind in ("slice", "plane", "enhanced", "slide"):
        for keyword, value in (("SeriesInstanceUID", header.series_uid), ("SOPInstanceUID", header.instance_uid)):
            if not value:
                raise SourceError(f"the image has no {keyword}, so it cannot be tied to a series")
    return header


def _index_values(path: Path) -> tuple[Values, str]:
    """What the index needs of a header, and the SOP class that the file meta group states."""
    try:
        elements = scan_header(path, _NEEDED, _OPTIONAL)
        return elements, elements.media_class
    except (HandOver, OSError):
        dataset = open_dataset(path)
        if "SOPClassUID" in dataset:  # else it may be no DICOM at all
            _check_last(dataset)
        return dataset, text(dataset.file_meta, "MediaStorageSOPClassUID")


def _why_ignored(sop_class: str) -> str:
    name = relaxed_pydicom().uid.UID(sop_class).name
    if "Image Storage" in name or "Volume Storage" in name:
        return f"images of this class are not read ({name})"
    return f"a DICOM object without scan voxels ({name})"


@cache
def relaxed_pydicom() -> Any:
    """pydicom, told that values which break DICOM's letter (dates, UIDs) are no reason to refuse a scan, and to keep
    header values out of the log; what matters is checked here.
    """
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    return pydicom


def open_dataset(path: Path, pixels: bool = False) -> "FileDataset":
    """Read a data set with pydicom, see `open_until`."""
    return open_until(path, pixels)[0]


def open_until(path: Path, pixels: bool = False) -> "tuple[FileDataset, int]":
    """Read a data set with pydicom, with or without its pixel data, and say where in the file reading stopped.

    An element's declared length allocates nothing beyond the file's own size; a deflated file is inflated within
    `HEADER_BYTES` first.

    Raises:
        SourceError: not DICOM, cut, or larger than it may be.
    """
    pydicom = relaxed_pydicom()
    try:
        with _Bounded(path, pixels) as stream:
            head = stream.read(2048)
            _check_begin(head)
            if DEFLATED.encode() in head:
                _check_inflated_size(path)
            stream.seek(0)
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels, force=head[128:132] != b"DICM")
            end = stream.tell()
        if pixels:
            _check_whole(dataset, path.stat().st_size)
        return dataset, end
    except SourceError:
        raise
    except RecursionError as error:
        raise SourceError("the DICOM header nests sequences without end") from error
    except MemoryError as error:
        raise SourceError("reading the DICOM header needs more memory than is allowed") from error
    except Exception as error:
        # The reader's own message may quote a header value, so only its kind is told.
        raise SourceError(f"not a readable DICOM file ({type(error).__name__}): damaged or cut") from error


def text(dataset: Values, keyword: str) -> str:
    """A header value as text, empty where it is missing or cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:
        return ""
    return "" if value is None else str(value).strip("\0 ")


def modality(dataset: Values) -> str:
    """DICOM's Modality; ``OT`` where it is missing or no code."""
    code = text(dataset, "Modality")
    return code if code.isalnum() and len(code) <= 16 else "OT"


def whole_number(dataset: Values, keyword: str, default: int | None = None) -> int:
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


def numbers(dataset: Values, keyword: str, count: int) -> tuple[float, ...] | None:
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


def _values(dataset: Values, keyword: str) -> tuple[float, ...]:
    try:
        value: Any = dataset.get(keyword)
        if value is None or value == "":
            return ()
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
            value = [value]
        if any("_" in str(one) for one in value):  # Python's way to write numbers, not DICOM's
            raise ValueError("not a decimal string")
        return tuple(float(one) for one in value)
    except Exception as error:
        raise SourceError(f"{keyword} does not hold numbers") from error


def _count(values: tuple[float, ...]) -> str:
    return "nothing" if not values else str(list(values))


class _Bounded(io.BufferedReader):
    """A file that allocates no more for a read than it has bytes left.

    Raises:
        SourceError: it is to be read as a whole and larger than a volume may be.
    """

    def __init__(self, path: Path, whole: bool) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size
        if whole and self._size > VOLUME_BYTES:
            self.close()
            raise SourceError(f"the file has {self._size / 2**30:.1f} GiB, more than {VOLUME_BYTES / 2**30:.0f} GiB")

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _check_begin(head: bytes) -> None:
    """Raise `SourceError` unless the first element can be one: pydicom would read megabytes of zeros one by one."""
    first = head[132:134] if head[128:132] == b"DICM" else head[:2]
    group = sorted(first)  # the smaller byte is the high one, in either byte order
    if len(first) < 2 or first == b"\0\0" or group[0] != 0 or group[1] > _LAST_FIRST_GROUP:
        raise SourceError("no SOPClassUID is found: not DICOM, cut or damaged")


def _check_whole(dataset: "FileDataset", size: int) -> None:
    """pydicom hands over what it could read; a file that is cut shows in its last element, or in none at all."""
    if "PixelData" not in dataset:
        raise SourceError("the file ends before or inside its pixel data")
    _check_last(dataset)
    pixels: Any = dataset.get_item("PixelData")
    encapsulated = getattr(pixels, "length", None) == _UNDEFINED and isinstance(pixels.value, bytes)
    if encapsulated and pixels.value_tell + len(pixels.value) + _DELIMITER_BYTES > size:
        raise SourceError("the file is cut inside the delimiter of its pixel data")


def _check_last(dataset: "FileDataset") -> None:
    last = dataset.get_item(max(dataset.keys())) if dataset.keys() else None
    declared, value = getattr(last, "length", None), getattr(last, "value", None)
    if isinstance(value, bytes) and declared not in (None, _UNDEFINED) and len(value) < declared:
        raise SourceError(f"the file is cut: its last element declares {declared} bytes, {len(value)} are there")


def _check_inflated_size(path: Path) -> None:
    """By inflating in pieces that are not kept: pydicom inflates a data set as a whole, whatever is asked of it."""
    try:
        start, syntax = scan_meta(path)
    except HandOver as error:
        raise SourceError("a deflated file must begin with a preamble and a whole file meta group") from error
    if syntax != DEFLATED:
        return
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as stream:
        stream.seek(start)
        while pending := inflate.unconsumed_tail or stream.read(1 << 16):
            total += len(inflate.decompress(pending, 1 << 22))
            if total > HEADER_BYTES:
                raise SourceError(f"deflated data grow beyond {HEADER_BYTES >> 20} MiB: refused")
