"""DICOM pictures (projection X-ray, ultrasound, secondary capture, visible light) → 2D fields."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom import pixels
from pipeline.sources.dicom.header import modality, multi_frame_name, numbers, open_dataset, text, whole_number
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan


def load_plane(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """A single-frame picture, ``(1 or 3, i, j)``, on a grid in mm where PixelSpacing is given, else in pixels.

    MONOCHROME1 is inverted, so that bright is bright.

    Raises:
        SourceError: several frames or tiles, or broken pixels.
    """
    (path,) = paths
    dataset = open_dataset(path, pixels=True)
    many = multi_frame_name(text(dataset, "SOPClassUID"))
    frames = whole_number(dataset, "NumberOfFrames", 1)
    if many or frames != 1:
        raise SourceError(f"multi-frame objects are not read yet ({many or modality(dataset)}, {frames} frames)")
    array = pixels.decode(dataset)
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        signed = whole_number(dataset, "PixelRepresentation", 0) == 1
        array = pixels.inverted(array, whole_number(dataset, "BitsStored"), signed)
    planes = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    image = np.ascontiguousarray(planes.transpose(0, 2, 1))
    shape = (image.shape[1], image.shape[2])
    spacing = _plane_spacing(dataset)
    grid = Grid.of_pixels(shape) if spacing is None else Grid(shape, np.diag([spacing[1], spacing[0], 1.0]))
    scan = LoadedScan(
        image,
        grid,
        modality(dataset),
        {"format": "dicom"},
        patient_id=text(dataset, "PatientID") or text(dataset, "StudyInstanceUID") or None,
        files=(str(path),),
    )
    return [scan]


def _plane_spacing(dataset: FileDataset) -> tuple[float, ...] | None:
    """Distances between rows and between columns in mm, where the picture states them."""
    spacing = numbers(dataset, "PixelSpacing", 2)
    if spacing is None and "SharedFunctionalGroupsSequence" in dataset:
        try:
            measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        except (AttributeError, IndexError):
            return None
        spacing = numbers(measures, "PixelSpacing", 2)
    if spacing is not None and min(spacing) <= 0:
        raise GeometryError(f"PixelSpacing must be above 0, got {list(spacing)}")
    return spacing
