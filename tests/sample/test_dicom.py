"""The DICOM files: conformance, geometry by hand-computed numbers, and the faults that were planted."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from pipeline.geometry import Grid
from pipeline.sample.ct_part import SERIES, plan_ct
from pipeline.sample.dicom import CtStorage, Subject, derived_uid, write_ct_series

# PS3.3 A.3.3 (CT Image IOD) and A.32.2.3 (VL Microscopic Image IOD): type 1 must have a value, type 2 may be empty.
COMMON_TYPE_1 = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
]
COMMON_TYPE_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "Manufacturer",
    "InstanceNumber",
]
CT_TYPE_1 = [
    "FrameOfReferenceUID",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleIntercept",
    "RescaleSlope",
]
CT_TYPE_2 = ["PositionReferenceIndicator", "SliceThickness", "KVP", "AcquisitionNumber", "PatientPosition"]
VL_TYPE_1 = ["PlanarConfiguration", "ContentTime", "PixelSpacing"]
VL_TYPE_2 = ["LossyImageCompression", "AcquisitionContextSequence", "PatientOrientation", "ContentDate"]


def slices(archive, name):
    return [pydicom.dcmread(path) for path in sorted((archive.root / "ct" / name).iterdir())]


def assert_attributes(dataset, type_1, type_2):
    assert [keyword for keyword in [*type_1, *type_2] if keyword not in dataset] == []
    assert [keyword for keyword in type_1 if dataset[keyword].value in ("", None)] == []


def test_ct_files_have_all_type_1_and_2_attributes(archive):
    dataset = slices(archive, "CT001")[0]
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2" == dataset.file_meta.MediaStorageSOPClassUID
    assert_attributes(dataset, COMMON_TYPE_1 + CT_TYPE_1, COMMON_TYPE_2 + CT_TYPE_2)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_microscopy_files_have_all_type_1_and_2_attributes(archive):
    files = sorted((archive.root / "cells" / "he").glob("*.dcm"))
    dataset = pydicom.dcmread(files[0])
    assert len(files) == 6
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.2"
    assert_attributes(dataset, COMMON_TYPE_1 + VL_TYPE_1, COMMON_TYPE_2 + VL_TYPE_2)
    assert (dataset.Modality, dataset.PhotometricInterpretation) == ("GM", "RGB")
    assert dataset.PixelSpacing == [0.0005, 0.0005]
    assert dataset.pixel_array.shape == (256, 256, 3)


def test_identifiers_are_valid_unique_and_invented(archive):
    paths = [
        path
        for path in archive.root.rglob("*.dcm")
        if str(path.relative_to(archive.root)) not in archive.summary.faulty
    ]
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    instances = [header.SOPInstanceUID for header in headers]
    assert len(set(instances)) == len(instances)
    assert all(uid.is_valid for header in headers for uid in (header.SOPInstanceUID, header.SeriesInstanceUID))
    assert all(header.PatientID.startswith("SAMPLE-") for header in headers)
    assert all(header.PatientName.family_name == "Sample" for header in headers)


def test_uids_depend_on_seed():
    first, second = (Subject("SAMPLE-X", seed, "CT001") for seed in (0, 1))
    assert first.series_uid != second.series_uid
    assert UID(derived_uid("a", 1)).is_valid
    assert len({first.study_uid, first.series_uid, first.frame_uid, first.instance_uid(1)}) == 4


@pytest.mark.parametrize("signed", [True, False])
def test_header_of_a_small_oblique_series_has_hand_computed_numbers(tmp_path, signed):
    # In RAS: i runs to the left (-x), j to the back (-y) turned by 30 degrees towards the head, 0.5 / 0.8 / 2 mm.
    cos, sin = np.cos(np.pi / 6), 0.5
    affine = np.array(
        [[-0.5, 0, 0, 10], [0, -0.8 * cos, 2 * sin, -20], [0, 0.8 * sin, 2 * cos, 30], [0, 0, 0, 1]], dtype=float
    )
    voxels = np.arange(2 * 3 * 2, dtype=np.int16).reshape(2, 3, 2) - 500
    subject = Subject("SAMPLE-X", 0, "X")
    write_ct_series(tmp_path / "x", subject, voxels, Grid((2, 3, 2), affine), CtStorage(signed, against_normal=True))
    first, second = (pydicom.dcmread(tmp_path / "x" / f"IM000{number}.dcm") for number in (1, 2))
    assert (first.Rows, first.Columns) == (3, 2)
    assert first.PixelSpacing == [0.8, 0.5]
    assert first.ImageOrientationPatient == pytest.approx([1, 0, 0, 0, cos, sin])
    # Against the normal: the first file is the slice k = 1, 2 mm along (0, -sin, cos) from the origin.
    assert first.ImagePositionPatient == pytest.approx([-10, 20 - 2 * sin, 30 + 2 * cos])
    assert second.ImagePositionPatient == pytest.approx([-10, 20, 30])
    hu = first.pixel_array * first.RescaleSlope + first.RescaleIntercept
    assert hu.tolist() == voxels[:, :, 1].T.tolist()


def test_archive_holds_oblique_prone_anisotropic_and_reversed_series():
    plans = [plan_ct(0, index) for index in range(SERIES)]
    angles = np.array([np.rad2deg(np.arccos(np.clip((np.trace(plan.axes_lps) - 1) / 2, -1, 1))) for plan in plans])
    oblique = (angles > 1) & (angles < 179)
    assert oblique.sum() == 10
    assert ((angles[oblique] >= 10) & (angles[oblique] <= 25)).all()
    assert (angles > 179).sum() == 2
    assert sum(plan.spacing[0] != plan.spacing[1] for plan in plans) == 4
    assert sum(plan.shape[0] != plan.shape[1] for plan in plans) == 15
    assert sum(plan.storage.against_normal for plan in plans) == 8
    assert {float(plan.spacing[2]) for plan in plans} == {1.5, 2.0, 2.5, 3.0}


def test_oblique_series_are_turned_and_not_tilted(archive):
    for index in (2, 5, 8):
        datasets = slices(archive, f"CT{index + 1:03d}")
        axes = np.array(datasets[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        steps = np.diff([np.array(item.ImagePositionPatient, dtype=float) for item in datasets], axis=0)
        assert axes @ axes.T == pytest.approx(np.eye(2), abs=1e-6)
        assert steps @ axes.T == pytest.approx(0, abs=1e-6)
        assert np.abs(axes).max(axis=1).min() < np.cos(np.deg2rad(9.9))


def test_reversed_series_count_from_head_to_foot(archive):
    heights = [item.ImagePositionPatient[2] for item in slices(archive, "CT002")]
    assert (np.diff(heights) < 0).all()
    heights = [item.ImagePositionPatient[2] for item in slices(archive, "CT001")]
    assert (np.diff(heights) > 0).all()


def test_faulty_files_are_faulty(archive):
    gap, cut, cut_nifti = archive.summary.faulty
    heights = np.sort([item.ImagePositionPatient[2] for item in slices(archive, gap.split("/")[1])])
    steps = np.diff(heights)
    assert steps.max() == pytest.approx(2 * steps.min())
    with pytest.raises(ValueError, match="expected"):
        _ = pydicom.dcmread(archive.root / cut).pixel_array
    assert (archive.root / cut_nifti).stat().st_size * 2 == pytest.approx(
        (archive.root / "mr" / "MR001.nii.gz").stat().st_size, abs=1
    )
