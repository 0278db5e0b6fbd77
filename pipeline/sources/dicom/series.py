"""Cross-sectional DICOM series → 3D volumes."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom import geometry, pixels
from pipeline.sources.dicom.header import (
    is_cross_sectional,
    modality,
    numbers,
    open_dataset,
    text,
    whole_number,
)
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import VOLUME_BYTES, LoadedScan

# What may tell two volumes of one series apart, where positions repeat.
_VARYING = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoNumbers",
    "EchoTime",
    "TriggerTime",
    "DiffusionBValue",
)


@dataclass(frozen=True, eq=False)
class _Slice:
    """One decoded slice: ``values`` is ``(i, j)`` as stored."""

    path: str
    place: geometry.SlicePlace
    values: np.ndarray
    slope: float
    intercept: float
    patient: str
    modality: str
    varying: tuple[str, ...]
    digest: str


def load_series(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """The volumes of one cross-sectional series, ``(1, i, j, k)``, in HU or whatever the rescale gives.

    ``k`` grows along the slices' normal (row direction × column direction). A slice that is there twice, with equal
    pixels and place, is taken once. Where every position repeats, the series is divided by the attribute that tells
    the repeats apart (acquisition, phase, echo, b-value).

    Raises:
        SourceError: a file of the series is broken (the series would silently miss a slice), or patients are mixed.
        GeometryError: the slices do not make an even, straight stack.
    """
    slices = [_read_slice(path, len(paths)) for path in sorted(paths)]
    if len({one.patient for one in slices}) > 1:
        raise SourceError(f"the series holds files of {len({one.patient for one in slices})} different patients")
    geometry.check_alike([one.place for one in slices])
    unique, copies = _without_copies(slices)
    return [_volume(group, copies, note) for group, note in _volumes_of(unique)]


def _read_slice(path: Path, count: int) -> _Slice:
    try:
        dataset = open_dataset(path, pixels=True)
        place = _place(dataset)
        if place.shape[0] * place.shape[1] * count * 4 > VOLUME_BYTES:
            raise SourceError(f"{count} slices of {place.shape} are more than {VOLUME_BYTES / 2**30:.0f} GiB")
        values = np.ascontiguousarray(pixels.decode(dataset).T)
        slope, intercept = pixels.rescale(dataset)
    except SourceError as error:
        error.path = str(path)  # type: ignore[attr-defined] # whose fault it is: the child tells it beside the message
        raise
    content = hashlib.sha256(values.tobytes())
    content.update(repr((place, slope, intercept)).encode())
    return _Slice(
        path=str(path),
        place=place,
        values=values,
        slope=slope,
        intercept=intercept,
        patient=text(dataset, "PatientID") or text(dataset, "StudyInstanceUID"),
        modality=modality(dataset),
        varying=tuple(text(dataset, keyword) for keyword in _VARYING),
        digest=content.hexdigest(),
    )


def _place(dataset: FileDataset) -> geometry.SlicePlace:
    if not is_cross_sectional(text(dataset, "SOPClassUID")):
        raise SourceError("expected a CT, MR or PET slice")
    if whole_number(dataset, "NumberOfFrames", 1) != 1:
        raise SourceError("expected one frame a file")
    if "MOSAIC" in text(dataset, "ImageType"):
        raise GeometryError("a Siemens mosaic (many slices tiled in one picture) is not unpacked yet")
    position = numbers(dataset, "ImagePositionPatient", 3)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    spacing = numbers(dataset, "PixelSpacing", 2)
    for keyword, value in (
        ("ImagePositionPatient", position),
        ("ImageOrientationPatient", orientation),
        ("PixelSpacing", spacing),
    ):
        if value is None:
            raise GeometryError(f"{keyword} is missing, so the slice has no place in the world")
    assert position is not None
    assert orientation is not None
    assert spacing is not None
    thickness = numbers(dataset, "SpacingBetweenSlices", 1) or numbers(dataset, "SliceThickness", 1)
    return geometry.SlicePlace(
        position_lps=position,
        row_lps=orientation[:3],
        column_lps=orientation[3:],
        spacing=(spacing[1], spacing[0]),  # DICOM gives the distance between rows first
        shape=pixels.matrix(dataset),
        thickness=None if thickness is None else thickness[0],
    )


def _without_copies(slices: list[_Slice]) -> tuple[list[_Slice], tuple[str, ...]]:
    first: dict[str, _Slice] = {}
    copies = []
    for one in slices:
        if first.setdefault(one.digest, one) is not one:
            copies.append(one.path)
    return list(first.values()), tuple(copies)


def _volumes_of(slices: list[_Slice]) -> list[tuple[list[_Slice], str]]:
    """One group a volume. Only a series in which every position repeats equally often is divided."""
    positions: dict[float, int] = defaultdict(int)
    for one in slices:
        positions[round(one.place.distance(), 2)] += 1
    repeats = set(positions.values())
    if repeats == {1} or len(repeats) > 1:
        return [(slices, "")]
    (count,) = repeats
    for index, keyword in enumerate(_VARYING):
        groups: dict[str, list[_Slice]] = defaultdict(list)
        for one in slices:
            groups[one.varying[index]].append(one)
        complete = all(len({round(one.place.distance(), 2) for one in g}) == len(g) for g in groups.values())
        if len(groups) == count and complete and len({len(g) for g in groups.values()}) == 1:
            return [(groups[value], f"one of {count} volumes of the series, by {keyword}") for value in sorted(groups)]
    return [(slices, "")]


def _volume(slices: list[_Slice], copies: tuple[str, ...], note: str) -> LoadedScan:
    ordered = [slices[index] for index in geometry.order([one.place for one in slices])]
    grid = geometry.stack([one.place for one in ordered])
    remarks = (note, f"{len(copies)} identical copies of slices left out" if copies else "")
    return LoadedScan(
        _scaled(ordered)[None],
        grid,
        ordered[0].modality,
        {"format": "dicom"},
        patient_id=ordered[0].patient or None,
        notes=tuple(remark for remark in remarks if remark),
        files=tuple(one.path for one in ordered),
        copies=copies,
    )


def _scaled(slices: list[_Slice]) -> np.ndarray:
    """``(i, j, k)`` after each slice's own rescale: integers where nothing is lost, else float32."""
    whole = all(one.slope == 1 and one.intercept == int(one.intercept) for one in slices)
    values = np.stack([one.values for one in slices], axis=-1)
    if whole and all(one.intercept == 0 for one in slices):
        return values
    intercepts = np.array([one.intercept for one in slices])
    if whole:
        scaled = values.astype(np.int32 if values.itemsize < 4 else np.int64) + intercepts.astype(np.int32)
        fits = scaled.min() >= -32768 and scaled.max() <= 32767
        return scaled.astype(np.int16) if fits else scaled
    return (values * np.array([one.slope for one in slices]) + intercepts).astype(np.float32)
