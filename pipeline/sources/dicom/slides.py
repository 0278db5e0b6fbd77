"""Whole slide images (VL Whole Slide Microscopy) → one lazily decoded 2D picture a level, focal plane and optical path.

World of the grid: the image plane in mm, x along rows (growing column index ``i``), y along columns (growing ``j``),
with its origin at the outer corner of the first pixel of the total pixel matrix: one point of the tissue has the same
place in every level of a pyramid. Where the slide lies on the glass stands in the attributes, see `slide_frame`.
Source: DICOM PS3.3 C.8.12.4 (image), C.8.12.14 (tiles), C.7.6.17.3 (order of frames), C.8.12.6.1 (places of frames).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom import facts
from pipeline.sources.dicom.concatenations import JoinedFrames, by_concatenation, join
from pipeline.sources.dicom.frames import FrameFile, open_frames
from pipeline.sources.dicom.functional_groups import FunctionalGroups
from pipeline.sources.dicom.header import modality, numbers, text, whole_number
from pipeline.sources.dicom.pixels import inverted
from pipeline.sources.dicom.slide_colour import absent_colour, stain
from pipeline.sources.dicom.slide_frame import slide_attributes
from pipeline.sources.dicom.slide_layouts import layouts
from pipeline.sources.dicom.tiles import FullLayout, Layout, SparseLayout, TiledImage
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan, RefusedFiles

_BURNED_IN = "so it may name the patient: it is not taken"
# By the image flavour, ImageType value 3.
_NO_TISSUE = {
    "LABEL": f"a picture of the slide's label, {_BURNED_IN}",
    "OVERVIEW": f"an overview of the whole glass slide, which may show the label, {_BURNED_IN}",
    "THUMBNAIL": "a thumbnail of the slide: its levels hold the same in more detail",
    "LOCALIZER": "a picture for finding one's way on the slide: its levels hold the same in more detail",
}


@dataclass(frozen=True, eq=False)
class _Picture:
    """One picture of a slide: a level's pixels through one optical path (from 1) in one focal plane (from 1)."""

    object: JoinedFrames
    layout: Layout
    spacing: tuple[float, float] | None
    path: tuple[int, int] = (1, 1)
    plane: tuple[int, int] = (1, 1)

    def spoken(self) -> list[str]:
        told = []
        for name, (number, count) in (("optical path", self.path), ("focal plane", self.plane)):
            if count > 1:
                told.append(f"{name} {number} of {count}")
        return told


def load_slides(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan | RefusedFiles]:
    """The pictures of one slide's series, ``(1 or 3, i, j)``, the largest level first.

    Each image is a `TiledImage`: a picture of any size is read region by region. Palettes are applied, YBR becomes
    RGB, MONOCHROME1 is inverted. Tiles that are not there hold the recommended absent pixel value, white where none is
    given (no light, 0, in a grey picture), and a note counts them. Label, overview and thumbnail images and files that
    cannot be read are given as `RefusedFiles` with the reason.

    Raises:
        SourceError: the files are of several patients.
    """
    files, refused = _open(sorted(paths))
    patients = {_patient(file.dataset) for file in files}
    if len(patients) > 1:
        raise SourceError(f"the series holds files of {len(patients)} different patients")
    pictures: list[_Picture] = []
    for group in by_concatenation(files):
        try:
            pictures += _pictures(join(group))
        except SourceError as error:
            refused.append(RefusedFiles(tuple(str(file.path) for file in group), str(error)))
    scans = []
    for picture, part in _named(pictures):
        try:
            scans.append(_scan(picture, part))
        except SourceError as error:
            refused.append(RefusedFiles(picture.object.paths, str(error)))
    return [*scans, *_not_taken(refused, scans)]


def _open(paths: list[Path]) -> tuple[list[FrameFile], list[RefusedFiles]]:
    files: list[FrameFile] = []
    refused: list[RefusedFiles] = []
    for path in paths:
        try:
            file = open_frames(path)
        except SourceError as error:
            refused.append(RefusedFiles((str(path),), str(error)))
            continue
        reason = _why_not(file)
        if reason is None:
            files.append(file)
        else:
            refused.append(reason)
    return files, refused


def _why_not(file: FrameFile) -> RefusedFiles | None:
    """Why a picture is not taken at all; `None` for one that is."""
    kinds: Any = file.dataset.get("ImageType") or ()
    flavour = str(kinds[2]) if len(kinds) > 2 and not isinstance(kinds, str) else ""
    if flavour in _NO_TISSUE:
        return RefusedFiles((str(file.path),), _NO_TISSUE[flavour], "ignored")
    for keyword in ("SpecimenLabelInImage", "BurnedInAnnotation"):
        if text(file.dataset, keyword) == "YES":
            return RefusedFiles((str(file.path),), f"{keyword} is YES, {_BURNED_IN}")
    return None


def _not_taken(refused: list[RefusedFiles], scans: list[LoadedScan]) -> Iterator[RefusedFiles]:
    """A file that holds several pictures is refused only if none of them was taken."""
    taken = {path for scan in scans for path in scan.files}
    for one in refused:
        if not taken.intersection(one.files):
            yield one


def _pictures(joined: JoinedFrames) -> list[_Picture]:
    dataset = joined.dataset
    size = whole_number(dataset, "TotalPixelMatrixColumns"), whole_number(dataset, "TotalPixelMatrixRows")
    if min(size) < 1:
        raise SourceError(f"TotalPixelMatrixColumns and -Rows must be at least 1, got {size[0]} and {size[1]}")
    spacing = _spacing(joined, size)
    found = layouts(joined, size)
    return [_Picture(joined, layout, spacing, path, plane) for layout, path, plane in found]


def _spacing(joined: JoinedFrames, size: tuple[int, int]) -> tuple[float, float] | None:
    """Distances along ``(i, j)`` in mm: PixelSpacing, or else the imaged volume's size; `None` where neither is."""
    file = joined.files[0]
    measures = FunctionalGroups.of(file.dataset, file.count).of_frame(0).get("PixelMeasuresSequence")
    spacing = None if measures is None else numbers(measures, "PixelSpacing", 2)
    if spacing is None:
        extent = [facts.millimetres(joined.dataset, f"ImagedVolume{way}") for way in ("Width", "Height")]
        if None in extent:
            return None
        return extent[0] / size[0], extent[1] / size[1]  # type: ignore[operator]
    if min(spacing) <= 0:
        raise GeometryError(f"PixelSpacing must be above 0, got {list(spacing)}")
    return spacing[1], spacing[0]  # DICOM gives the distance between rows first


def _named(pictures: list[_Picture]) -> list[tuple[_Picture, str]]:
    """Pictures with what tells them apart; level 0 is the largest."""
    sizes = sorted({one.layout.size for one in pictures}, key=lambda size: (-size[0] * size[1], size))
    ordered = sorted(pictures, key=lambda one: (sizes.index(one.layout.size), one.path, one.plane))
    named: dict[str, list[_Picture]] = defaultdict(list)
    for one in ordered:
        level = [f"level {sizes.index(one.layout.size)}"]
        if one.spacing is not None:
            level.append(f"{_um(one.spacing)} um per pixel")
        named[", ".join(level + one.spoken())].append(one)
    return [
        (one, part if len(alike) == 1 else f"{part}, image {number} of {len(alike)}")
        for part, alike in named.items()
        for number, one in enumerate(alike, 1)
    ]


def _um(spacing: tuple[float, float]) -> str:
    """``0.25``, or ``0.25 x 0.26`` where the pixels are not square."""
    shown = [f"{1000 * one:.4g}" for one in spacing]
    shown = [one if "." in one or "e" in one else f"{one}.0" for one in shown]
    return shown[0] if shown[0] == shown[1] else " x ".join(shown)


def _scan(picture: _Picture, part: str) -> LoadedScan:
    dataset = picture.object.dataset
    image, notes = _image(picture)
    size = picture.layout.size
    attributes = {**facts.attributes(dataset), **slide_attributes(dataset), **stain(dataset)}
    if picture.spacing is None:
        grid = Grid.of_pixels(size)
    else:
        x, y = picture.spacing
        grid = Grid(size, np.array([[x, 0, x / 2], [0, y, y / 2], [0, 0, 1.0]]))
        attributes["um_per_pixel"] = _um(picture.spacing)
    return LoadedScan(
        image,
        grid,
        modality(dataset),
        attributes,
        patient_id=_patient(dataset) or None,
        notes=notes,
        files=picture.object.paths,
        copies=tuple(str(path) for path in picture.object.copies),
        part=part,
    )


def _image(picture: _Picture) -> tuple[TiledImage, tuple[str, ...]]:
    """The picture, and notes on it. One tile is decoded, to learn what the others must be."""
    dataset = picture.object.dataset
    read = _reader(picture.object)
    layout = picture.layout
    filled = (number for number, _, _ in layout.within(range(layout.size[0]), range(layout.size[1])))
    first = next((tile for number in filled if (tile := read(number)) is not None), None)
    if first is None:
        raise SourceError("none of its tiles holds pixels")
    channels = 1 if first.ndim == 2 else first.shape[2]
    stored = whole_number(dataset, "BitsStored") if first.dtype.itemsize > 1 else 8
    colour = absent_colour(dataset, channels, (1 << stored) - 1)
    image = TiledImage(layout, read, channels, first.dtype, colour)
    return image, _notes(picture, colour)


def _notes(picture: _Picture, colour: tuple[int, ...]) -> tuple[str, ...]:
    layout, joined = picture.layout, picture.object
    notes = []
    if layout.absent:
        whole = FullLayout(layout.size, layout.tile).count
        value = " ".join(map(str, colour))
        there = len(layout.tiles) if isinstance(layout, SparseLayout) else whole
        share = 100 * layout.absent / (layout.size[0] * layout.size[1])
        notes.append(f"{whole - there} of {whole} tiles ({share:.1f} % of the pixels) are absent: filled with {value}")
    elif isinstance(layout, FullLayout):
        empty = sum(joined.is_empty(number) for number in range(layout.first, layout.first + layout.count))
        if empty:
            value = " ".join(map(str, colour))
            notes.append(f"{empty} of {layout.count} tiles hold no pixels: filled with {value}")
    if text(joined.dataset, "LossyImageCompression") == "01":
        notes.append("the pixels were compressed with loss")
    return tuple(notes)


def _reader(joined: JoinedFrames) -> Callable[[int], np.ndarray | None]:
    if text(joined.dataset, "PhotometricInterpretation") != "MONOCHROME1":
        return joined.read
    stored = whole_number(joined.dataset, "BitsStored")
    signed = whole_number(joined.dataset, "PixelRepresentation", 0) == 1

    def read(number: int) -> np.ndarray | None:
        tile = joined.read(number)
        return None if tile is None else inverted(tile, stored, signed)

    return read


def _patient(dataset: Dataset) -> str:
    return text(dataset, "PatientID") or text(dataset, "StudyInstanceUID")
