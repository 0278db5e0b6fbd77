"""DICOM pictures (projection X-ray, ultrasound, secondary capture, visible light) → 2D fields."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom import facts, pixels
from pipeline.sources.dicom.header import modality, numbers, open_dataset, text, whole_number
from pipeline.sources.dicom.plane_spacing import PlaneSpacing, plane_spacing
from pipeline.sources.dicom.sop_classes import multi_frame_name
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_VIEW = {"ImageLaterality": "image_laterality", "ViewPosition": "view_position"}


def load_plane(paths: list[Path], options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """A single-frame picture, ``(1 or 3, i, j)``, on a grid in mm where it says how large it is, else in pixels.

    Grey values are those after the modality's rescale or look-up table (PS3.3 C.11.1); no display window is applied.
    MONOCHROME1 is inverted within its range, so that bright is bright. Colour (palettes and YBR, too) comes as RGB.

    Raises:
        SourceError: several frames, or broken pixels.
        GeometryError: the sizes that it states are not above 0, or contradict each other.
    """
    (path,) = paths
    dataset = open_dataset(path, pixels=True)
    _check_single(dataset)
    spacing = plane_spacing(dataset)
    image = _image(dataset)
    return [
        LoadedScan(
            image,
            _grid((image.shape[1], image.shape[2]), spacing),
            modality(dataset),
            {**facts.attributes(dataset), **_view(dataset), **spacing.attributes},
            patient_id=text(dataset, "PatientID") or text(dataset, "StudyInstanceUID") or None,
            notes=(*spacing.notes, *_notes(dataset, path)),
            files=(str(path),),
        )
    ]


def _check_single(dataset: "FileDataset") -> None:
    frames = whole_number(dataset, "NumberOfFrames", 1)
    if frames != 1:
        what = multi_frame_name(text(dataset, "SOPClassUID")) or modality(dataset)
        raise SourceError(
            f"a picture must have one frame, this one ({what}) has {frames}: a cine or a stack whose frames have no "
            "place is not read; export the frames that matter as pictures"
        )


def _grid(shape: tuple[int, int], spacing: PlaneSpacing) -> Grid:
    return Grid.of_pixels(shape) if spacing.mm is None else Grid(shape, np.diag([*spacing.mm, 1.0]))


def _image(dataset: "FileDataset") -> np.ndarray:
    """``(channel, i, j)``."""
    array = pixels.decode(dataset)
    if array.ndim == 3:
        return np.ascontiguousarray(array.transpose(2, 1, 0))
    return np.ascontiguousarray(_grey(dataset, array).T)[None]


def _grey(dataset: "FileDataset", array: np.ndarray) -> np.ndarray:
    """Values after the modality transform. Inverting before a rescale is inverting its range."""
    dark_is_high = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if dataset.get("ModalityLUTSequence"):
        array, bits = _looked_up(dataset, array)
        return pixels.inverted(array, bits, signed=False) if dark_is_high else array
    if dark_is_high:
        signed = whole_number(dataset, "PixelRepresentation", 0) == 1
        array = pixels.inverted(array, whole_number(dataset, "BitsStored"), signed)
    slope, intercept = pixels.rescale(dataset)
    if (slope, intercept) == (1, 0):
        return array
    if slope != 1 or intercept != int(intercept):
        return (array * slope + intercept).astype(np.float32)
    whole = array.astype(np.int64) + int(intercept)
    return whole.astype(np.int16 if whole.min() >= -32768 and whole.max() <= 32767 else np.int32)


def _looked_up(dataset: "FileDataset", array: np.ndarray) -> tuple[np.ndarray, int]:
    """Values of the Modality LUT, and how many bits they may have."""
    from pydicom.pixels import apply_modality_lut

    try:
        bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        looked_up = apply_modality_lut(array, dataset)
    except Exception as error:
        raise SourceError(f"the Modality LUT cannot be applied ({type(error).__name__})") from error
    if not 8 <= bits <= 16 or looked_up.dtype.kind != "u":
        raise SourceError(f"a Modality LUT must have entries of 8 to 16 bits, got {bits}")
    return looked_up, bits


def _view(dataset: "FileDataset") -> dict[str, str]:
    found = {name: text(dataset, keyword) for keyword, name in _VIEW.items()}
    return {name: value for name, value in found.items() if value.isalnum() and len(value) <= 16}


def _notes(dataset: "FileDataset", path: Path) -> tuple[str, ...]:
    found = list(facts.remarks(dataset, path))
    if text(dataset, "BurnedInAnnotation") == "YES":
        found.append("the header says that annotations, perhaps of the patient, are burned into the pixels")
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        found.append("MONOCHROME1: inverted, so that bright is bright")
    if numbers(dataset, "PixelPaddingValue", 1) is not None:
        found.append("the header names a padding value: such pixels were not measured")
    return tuple(found)
