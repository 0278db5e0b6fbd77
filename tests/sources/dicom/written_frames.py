"""Multi-frame objects written for tests: enhanced scans and whole slide images, with known values and places."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from tests.sources.written import OBLIQUE_COLUMN, OBLIQUE_FIRST, OBLIQUE_NORMAL, OBLIQUE_ROW, OBLIQUE_STEP, dataset

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
VOLUME, LABEL = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]

Groups = dict[str, dict[str, object]]


def items(**values: object) -> list[Dataset]:
    """A sequence of one item; a dict among ``values`` becomes a sequence of its own."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, items(**value) if isinstance(value, dict) else value)
    return [item]


def place(k: float, first: Sequence[float] = OBLIQUE_FIRST) -> Groups:
    """The plane position of slice ``k`` of the oblique stack of `tests.sources.written`."""
    position = np.array(first) + k * OBLIQUE_STEP * np.array(OBLIQUE_NORMAL)
    return {"PlanePositionSequence": {"ImagePositionPatient": position.tolist()}}


OBLIQUE: Groups = {
    "PlaneOrientationSequence": {"ImageOrientationPatient": [*OBLIQUE_ROW, *OBLIQUE_COLUMN]},
    "PixelMeasuresSequence": {"PixelSpacing": [2.0, 0.5], "SliceThickness": 4.0},
}


def enhanced(
    frames: np.ndarray,
    per_frame: Sequence[Groups],
    shared: Groups = OBLIQUE,
    sop_class: str = ENHANCED_CT,
    **more: object,
) -> FileDataset:
    """An enhanced object of ``frames``, ``(frame, row, column)``, with its functional groups."""
    made = dataset(frames[0], sop_class, **{"PixelData": frames.tobytes(), "NumberOfFrames": len(frames), **more})
    made.SharedFunctionalGroupsSequence = items(**shared)
    if per_frame:
        made.PerFrameFunctionalGroupsSequence = [items(**groups)[0] for groups in per_frame]
    return made


def tiles_of(picture: np.ndarray, tile: tuple[int, int], beyond: int = 7) -> list[np.ndarray]:
    """``picture``, ``(row, column[, 3])``, in tiles of (columns, rows), row by row; what lies outside is ``beyond``."""
    height, width = picture.shape[:2]
    down, across = -(-height // tile[1]), -(-width // tile[0])
    padded = np.full((down * tile[1], across * tile[0], *picture.shape[2:]), beyond, picture.dtype)
    padded[:height, :width] = picture
    return [
        np.ascontiguousarray(padded[r * tile[1] : (r + 1) * tile[1], c * tile[0] : (c + 1) * tile[0]])
        for r in range(down)
        for c in range(across)
    ]


def slide(tiles: Sequence[np.ndarray], size: tuple[int, int], **more: object) -> FileDataset:
    """A TILED_FULL slide level of ``size`` (columns, rows), half a micron per pixel."""
    shared: Groups = {"PixelMeasuresSequence": {"PixelSpacing": [0.0005, 0.0005], "SliceThickness": 0.001}}
    standard: dict[str, object] = {
        "Modality": "SM",
        "ImageType": VOLUME,
        "DimensionOrganizationType": "TILED_FULL",
        "TotalPixelMatrixColumns": size[0],
        "TotalPixelMatrixRows": size[1],
        "TotalPixelMatrixFocalPlanes": 1,
        "OpticalPathSequence": items(OpticalPathIdentifier="1"),
        "NumberOfFrames": len(tiles),
        "PixelData": b"".join(one.tobytes() for one in tiles),
        "SharedFunctionalGroupsSequence": items(**shared),
    }
    made = dataset(tiles[0], SLIDE, **{**standard, **more})
    if "PixelData" in made:
        made["PixelData"].VR = "OB" if tiles[0].dtype.itemsize == 1 else "OW"
    return made


def sparse(tiles: Sequence[np.ndarray], corners: Sequence[tuple[int, int]], size: tuple[int, int], **more: object):
    """A TILED_SPARSE slide level; ``corners`` are (column, row) of each tile's first pixel, from 1, as DICOM counts."""
    made = slide(tiles, size, DimensionOrganizationType="TILED_SPARSE", **more)
    made.PerFrameFunctionalGroupsSequence = [
        items(
            PlanePositionSlideSequence={
                "ColumnPositionInTotalImagePixelMatrix": column,
                "RowPositionInTotalImagePixelMatrix": row,
            }
        )[0]
        for column, row in corners
    ]
    return made


def as_jpeg(made: FileDataset, frames: Sequence[bytes]) -> FileDataset:
    """The same object with JPEG ``frames`` as its pixels."""
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.PhotometricInterpretation = "YBR_FULL_422"
    made.PixelData = encapsulate(list(frames))
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return made


def jpeg(tile: np.ndarray, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def save(made: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path
