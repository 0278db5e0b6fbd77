"""Scan files written for tests, with values and places known by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

# Rows run along LPS (0.8, 0.6, 0), columns along (0, 0, -1): 3-4-5 triangles keep the numbers whole.
# Normal = row x column = (-0.6, 0.8, 0). First pixel at (10, -20, 30); spacing i 0.5, j 2, k 4 mm.
OBLIQUE_ROW, OBLIQUE_COLUMN, OBLIQUE_NORMAL = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0), (-0.6, 0.8, 0.0)
OBLIQUE_FIRST = (10.0, -20.0, 30.0)
OBLIQUE_STEP = 4.0


def dataset(values: np.ndarray, sop_class: str = CT, **elements: object) -> FileDataset:
    """A data set with ``values`` (row, column[, 3]) as its pixels; ``elements`` replace or add to the rest."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    instance = str(elements.pop("SOPInstanceUID", generate_uid()))
    meta.MediaStorageSOPInstanceUID = instance
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = values.dtype.itemsize * 8
    standard = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": instance,
        "Modality": "CT",
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 1 if values.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if values.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelData": values.tobytes() + b"\0" * (values.nbytes % 2),
    }
    if values.ndim == 3:
        standard["PlanarConfiguration"] = 0
    for keyword, value in {**standard, **elements}.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def write(made: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def oblique_slice(k: float, values: np.ndarray, **elements: object) -> FileDataset:
    """Slice ``k`` of the oblique series: shape (rows = j, columns = i)."""
    position = np.array(OBLIQUE_FIRST) + k * OBLIQUE_STEP * np.array(OBLIQUE_NORMAL)
    geometry: dict[str, object] = {
        "ImagePositionPatient": position.tolist(),
        "ImageOrientationPatient": [*OBLIQUE_ROW, *OBLIQUE_COLUMN],
        "PixelSpacing": [2.0, 0.5],
        "SliceThickness": 4.0,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    return dataset(values, **{**geometry, **elements})


def oblique_voxels(shape: tuple[int, int, int] = (12, 8, 6), seed: int = 0) -> np.ndarray:
    """Random int16 voxels ``(i, j, k)``."""
    return np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)


def write_oblique_series(folder: Path, voxels: np.ndarray, leave_out: tuple[int, ...] = (), **elements: object) -> None:
    """One file a slice, the file names in the opposite order of the slices."""
    count = voxels.shape[2]
    for k in range(count):
        if k not in leave_out:
            slice_ = oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T), **elements)
            write(slice_, folder / f"IM{count - k:04d}.dcm")


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def write_png(path: Path, values: np.ndarray) -> Path:
    """``values`` is ``(row, column[, 3])``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path
