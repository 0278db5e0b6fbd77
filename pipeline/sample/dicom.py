"""Writing CT Image and VL Microscopic Image objects, with every type 1 and 2 attribute (PS3.3 A.3, A.32.2)."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_ras_to_lps
from pipeline.types import Affine

VL_MICROSCOPIC = UID("1.2.840.10008.5.1.4.1.1.77.1.2")
_NAMESPACE = uuid.UUID("5d2e6f0a-8f3c-5c0e-9a51-0c1d7f6b2e44")
_WRITER = "CELLSCAN SAMPLE"


def derived_uid(*parts: object) -> UID:
    """A valid UID (PS3.5 B.2, root 2.25) that depends on ``parts`` alone."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}")


@dataclass(frozen=True)
class Subject:
    """An invented patient and the UIDs of one invented examination."""

    patient_id: str
    seed: int
    examination: str

    @property
    def study_uid(self) -> UID:
        return derived_uid(self.seed, self.examination, "study")

    @property
    def series_uid(self) -> UID:
        return derived_uid(self.seed, self.examination, "series")

    @property
    def frame_uid(self) -> UID:
        return derived_uid(self.seed, self.examination, "frame of reference")

    def instance_uid(self, number: int) -> UID:
        return derived_uid(self.seed, self.examination, "instance", number)


@dataclass(frozen=True)
class CtStorage:
    """How a scanner stores its voxels: signed Hounsfield units, or 12 unsigned bits shifted by 1024."""

    signed: bool
    against_normal: bool


def write_ct_series(folder: Path, subject: Subject, voxels: np.ndarray, grid: Grid, storage: CtStorage) -> None:
    """Write ``voxels`` (i, j, k) int16 in HU on a 3D ``grid`` (RAS mm) as one file a slice.

    ``storage.against_normal``: files and instance numbers run against the slice normal.
    """
    folder.mkdir(parents=True)
    affine = affine_ras_to_lps(grid.affine)
    dataset = _ct_series(subject, affine, storage)
    order = range(grid.shape[2])
    for number, k in enumerate(reversed(order) if storage.against_normal else order, start=1):
        dataset.SOPInstanceUID, dataset.InstanceNumber = subject.instance_uid(number), number
        dataset.ImagePositionPatient = _decimals(affine[:3, 3] + k * affine[:3, 2])
        _put_ct_pixels(dataset, voxels[:, :, k], storage)
        _save(dataset, folder / f"IM{number:04d}.dcm", CTImageStorage)


def write_microscopy(path: Path, subject: Subject, pixels: np.ndarray, spacing_mm: float) -> None:
    """Write ``pixels`` (i, j, 3) uint8 as one VL Microscopic image with a pixel spacing."""
    dataset = _examination(subject, "GM", 1, Laterality="")
    dataset.PatientOrientation = ""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.AcquisitionContextSequence = Sequence([])
    dataset.LossyImageCompression = "00"
    dataset.PixelSpacing = [spacing_mm, spacing_mm]
    _put_pixels(dataset, np.swapaxes(pixels, 0, 1), bits_stored=8, signed=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(dataset, path, VL_MICROSCOPIC)


def _examination(subject: Subject, modality: str, number: int, **more: object) -> Dataset:
    """Patient, General Study, General Series, General Equipment, General Image, SOP Common."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = "20200101", "120000"
    dataset.SOPInstanceUID = subject.instance_uid(number)
    dataset.StudyDate, dataset.StudyTime = "20200101", "120000"
    dataset.ContentDate, dataset.ContentTime = "20200101", "120000"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "", "1", ""
    dataset.Modality = modality
    dataset.Manufacturer, dataset.ManufacturerModelName = _WRITER, "generated, no patient"
    dataset.PatientName, dataset.PatientID = f"Sample^{subject.patient_id}", subject.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = subject.study_uid, subject.series_uid
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def _ct_series(subject: Subject, affine_lps: Affine, storage: CtStorage) -> Dataset:
    """Frame of Reference, Image Plane and CT Image as far as all slices of a series share them."""
    dataset = _examination(subject, "CT", 1, PatientPosition="HFS", BodyPartExamined="CHEST")
    steps = np.linalg.norm(affine_lps[:3, :3], axis=0)
    axes = affine_lps[:3, :3] / steps
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = subject.frame_uid, ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.KVP, dataset.AcquisitionNumber = "120", 1
    # PixelSpacing is (distance between rows, distance between columns): along j first, then along i.
    dataset.PixelSpacing = _decimals([steps[1], steps[0]])
    dataset.SliceThickness, dataset.SpacingBetweenSlices = _decimals([steps[2], steps[2]])
    dataset.ImageOrientationPatient = _decimals([*axes[:, 0], *axes[:, 1]])
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0 if storage.signed else -1024, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = -500, 1500
    return dataset


def _put_ct_pixels(dataset: Dataset, hu: np.ndarray, storage: CtStorage) -> None:
    """Image Pixel of one slice (i, j) in HU."""
    stored = hu if storage.signed else (hu + 1024).astype(np.uint16)
    _put_pixels(dataset, stored.T, bits_stored=16 if storage.signed else 12, signed=storage.signed)


def _decimals(values: np.ndarray | list[float]) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 6.2), 10 decimals where they fit."""
    return [f"{value:.10f}"[:16].rstrip("0").rstrip(".") for value in values]


def _put_pixels(dataset: Dataset, rows: np.ndarray, bits_stored: int, signed: bool) -> None:
    """Image Pixel of ``rows`` (row, column) or (row, column, 3)."""
    bits = rows.dtype.itemsize * 8
    dataset.SamplesPerPixel = 3 if rows.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if rows.ndim == 3 else "MONOCHROME2"
    if rows.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = rows.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = rows.astype(rows.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def _save(dataset: Dataset, path: Path, sop_class: UID) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Ours, not pydicom's: the bytes must not change with its version.
    meta.ImplementationClassUID = derived_uid("implementation")
    meta.ImplementationVersionName = _WRITER
    dataset.SOPClassUID = sop_class
    file = FileDataset(path, dataset, file_meta=meta, preamble=b"\0" * 128)
    file.save_as(path, enforce_file_format=True)
