"""One slice of a cross-sectional series, as its file states it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom import facts, mosaic, varying
from pipeline.sources.dicom.geometry import SlicePlace
from pipeline.sources.dicom.header import Values, modality, numbers, open_dataset, text, whole_number
from pipeline.sources.dicom.pixels import decode, matrix, read_slice_file, rescale
from pipeline.sources.dicom.sop_classes import is_cross_sectional
from pipeline.sources.dicom.varying import Facts

_KEYWORDS = tuple(
    dict.fromkeys(
        (
            *("SOPClassUID", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
            *("SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "InstanceNumber"),
            *("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "ImageType"),
            *facts.KEYWORDS,
        )
    )
)


@dataclass(frozen=True, eq=False)
class Slice:
    """``pixels()`` are stored values, ``(row, column)`` or ``(row, column, 3)``; ``slope`` and ``intercept`` turn them
    into HU or whatever the modality gives. ``facts`` are what may tell volumes of one series apart. A mosaic gives
    several slices of one file, which share ``mosaic``. ``digest()`` is the file's; it is cheap after ``pixels()``.
    """

    path: str
    place: SlicePlace
    pixels: Callable[[], np.ndarray]
    facts: Facts
    slope: float = 1.0
    intercept: float = 0.0
    patient: str = field(default="", repr=False)
    frame_of_reference: str = field(default="", repr=False)
    modality: str = "OT"
    instance: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    digest: Callable[[], str] = str
    mosaic: str = ""


def read_slices(path: Path) -> list[Slice]:
    """The slice of one file, or those of a Siemens mosaic. Pixels are not decoded yet, but for a mosaic.

    Raises:
        SourceError: the file is broken, or no single-frame CT, MR or PET image; its ``path`` is the file's.
        GeometryError: it has no place in the world.
    """
    with blamed_on(str(path)):
        file = read_slice_file(path, _KEYWORDS)
        values = file.values
        slope, intercept = rescale(values)
        one = Slice(
            path=str(path),
            place=_place(values),
            pixels=file.pixels,
            facts=_FactsOf(path),
            slope=slope,
            intercept=intercept,
            patient=text(values, "PatientID") or text(values, "StudyInstanceUID"),
            frame_of_reference=text(values, "FrameOfReferenceUID"),
            modality=modality(values),
            instance=_instance(values),
            attributes=facts.attributes(values),
            remarks=_remarks(values, path),
            digest=lambda: file.digest,
        )
        return _tiles(one) if "MOSAIC" in varying.as_text(values, "ImageType").split("\\") else [one]


@contextmanager
def blamed_on(path: str) -> Iterator[None]:
    """Whatever fails inside becomes a `SourceError` with the file whose fault it is: the child tells it beside the
    message. A decoder may end in a Rust panic, which is no `Exception`.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        known = isinstance(error, SourceError)
        told = error if known else SourceError(f"cannot be read ({type(error).__name__}): damaged or cut")
        told.path = path  # type: ignore[attr-defined]
        if known:
            raise
        raise told from error


def _place(values: Values) -> SlicePlace:
    if not is_cross_sectional(text(values, "SOPClassUID")):
        raise SourceError("expected a CT, MR or PET slice")
    if whole_number(values, "NumberOfFrames", 1) != 1:
        raise SourceError("expected one frame a file")
    return stated_place(values, matrix(values), "{} is missing, so the slice has no place in the world")


def stated_place(values: Values, shape: tuple[int, int], missing: str) -> SlicePlace:
    """Where a header, or a frame's functional groups, say that one picture of ``shape`` (columns, rows) lies.

    Raises:
        GeometryError: ``missing``, about the elements that are not there, or a place that contradicts itself.
    """
    position = numbers(values, "ImagePositionPatient", 3)
    orientation = numbers(values, "ImageOrientationPatient", 6)
    spacing = numbers(values, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        stated = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation, "PixelSpacing": spacing}
        raise GeometryError(missing.format(" and ".join(name for name, value in stated.items() if value is None)))
    return SlicePlace(
        position_lps=position,
        row_lps=orientation[:3],
        column_lps=orientation[3:],
        spacing=(spacing[1], spacing[0]),  # DICOM gives the distance between rows first
        shape=shape,
        thickness=facts.millimetres(values, "SliceThickness", "SpacingBetweenSlices"),
    )


class _FactsOf(Mapping[str, str]):
    """A file's facts, read when the first is asked for: most series need none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _all(self) -> Facts:
        with blamed_on(str(self._path)):
            return varying.facts_of(read_slice_file(self._path, varying.KEYWORDS).values)

    def __getitem__(self, keyword: str) -> str:
        return self._all[keyword]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _remarks(values: Values, path: Path) -> tuple[str, ...]:
    found = facts.remarks(values, path)
    if text(values, "PhotometricInterpretation") == "MONOCHROME1":
        found += ("MONOCHROME1: values are kept as they are, so bright shows dark",)
    return found


def _instance(values: Values) -> float:
    try:
        return float(whole_number(values, "InstanceNumber", 0))
    except SourceError:
        return 0.0


def _tiles(one: Slice) -> list[Slice]:
    dataset = open_dataset(Path(one.path), pixels=True)
    tiles = mosaic.unpack(dataset, one.place, decode(dataset))
    shared = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return [
        Slice(**{**shared, "place": place, "pixels": _constant(pixels), "mosaic": one.path}) for place, pixels in tiles
    ]


def _constant(pixels: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: pixels
