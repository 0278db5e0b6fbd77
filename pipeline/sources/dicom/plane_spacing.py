"""How large the pixels of a single picture are, in the patient.

Source: PS3.3 10.7.1.3 (PixelSpacing is in the patient, ImagerPixelSpacing at the detector) and C.8.5.5 (ultrasound
regions).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import GeometryError
from pipeline.sources.dicom.header import Values, numbers, whole_number

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_TWO_DIMENSIONAL, _TISSUE, _CENTIMETRES = 1, 1, 3  # PS3.3 C.8.5.5.1.1, C.8.5.5.1.2, C.8.5.5.1.15
_SAME = 0.01


@dataclass(frozen=True)
class PlaneSpacing:
    """``mm`` is the distance of pixel centres in mm along ``(i, j)``, or `None` where only pixels can be told."""

    mm: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


def plane_spacing(dataset: "FileDataset") -> PlaneSpacing:
    """What the header states, and nothing that would have to be assumed.

    PixelSpacing is taken as it is. ImagerPixelSpacing alone is at the detector: it is divided by
    EstimatedRadiographicMagnificationFactor where that is given, and only noted where it is not. Ultrasound regions
    give cm if all its two-dimensional tissue regions agree.

    Raises:
        GeometryError: a size that is not above 0, or two that contradict each other.
    """
    stated = _pair(dataset, "PixelSpacing") or _measures(dataset)
    region = _ultrasound(dataset)
    imager = _pair(dataset, "ImagerPixelSpacing")
    if stated is not None:
        if region.mm is not None and not _agree(stated, region.mm):
            raise GeometryError(
                f"PixelSpacing ({stated[0]:g} x {stated[1]:g} mm) and the ultrasound region "
                f"({region.mm[0]:g} x {region.mm[1]:g} mm) contradict each other"
            )
        same = imager is not None and _agree(stated, imager)
        note = ("PixelSpacing equals ImagerPixelSpacing: mm at the detector, not corrected for magnification",)
        return PlaneSpacing(stated, note if same else ())
    if region.mm is not None or region.notes:
        return region
    return PlaneSpacing(None) if imager is None else _projected(dataset, imager)


def _projected(dataset: "FileDataset", imager: tuple[float, float]) -> PlaneSpacing:
    attributes = {"imager_pixel_spacing_mm": f"{imager[0]:g} x {imager[1]:g}"}
    factor = numbers(dataset, "EstimatedRadiographicMagnificationFactor", 1)
    if factor is None:
        note = "ImagerPixelSpacing is at the detector, and no magnification is given: sizes are in pixels"
        return PlaneSpacing(None, (note,), attributes)
    if factor[0] < 1:
        raise GeometryError(f"EstimatedRadiographicMagnificationFactor must be at least 1, got {factor[0]:g}")
    note = f"ImagerPixelSpacing divided by the estimated magnification of {factor[0]:g}"
    return PlaneSpacing((imager[0] / factor[0], imager[1] / factor[0]), (note,), attributes)


def _ultrasound(dataset: "FileDataset") -> PlaneSpacing:
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    flat = [region for region in regions if _is_flat(region)]
    sizes = [size for size in (_deltas(region) for region in flat) if size is not None]
    if not sizes:
        return PlaneSpacing(None)
    if len(sizes) < len(flat) or not all(_agree(size, sizes[0]) for size in sizes):
        return PlaneSpacing(None, (f"{len(flat)} ultrasound regions of different scales: sizes are in pixels",))
    return PlaneSpacing(sizes[0], ("mm hold inside the picture's ultrasound region",))


def _is_flat(region: Values) -> bool:
    return (
        whole_number(region, "RegionSpatialFormat", 0) == _TWO_DIMENSIONAL
        and whole_number(region, "RegionDataType", 0) == _TISSUE
    )


def _deltas(region: Values) -> tuple[float, float] | None:
    units = {whole_number(region, f"PhysicalUnits{axis}Direction", 0) for axis in "XY"}
    across, down = numbers(region, "PhysicalDeltaX", 1), numbers(region, "PhysicalDeltaY", 1)
    if units != {_CENTIMETRES} or across is None or down is None:
        return None
    if across[0] == 0 or down[0] == 0:
        raise GeometryError(f"an ultrasound region's PhysicalDelta must not be 0, got {across[0]:g} and {down[0]:g}")
    return abs(across[0]) * 10, abs(down[0]) * 10


def _measures(dataset: "FileDataset") -> tuple[float, float] | None:
    """Of a picture that keeps its size in functional groups."""
    try:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    except (AttributeError, IndexError, TypeError):
        return None
    return _pair(measures, "PixelSpacing")


def _pair(values: Values, keyword: str) -> tuple[float, float] | None:
    """``(i, j)``: DICOM gives the distance between rows first."""
    stated = numbers(values, keyword, 2)
    if stated is None:
        return None
    if min(stated) <= 0:
        raise GeometryError(f"{keyword} must be above 0, got {list(stated)}")
    return stated[1], stated[0]


def _agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(abs(a / b - 1) <= _SAME for a, b in zip(one, other, strict=True))
