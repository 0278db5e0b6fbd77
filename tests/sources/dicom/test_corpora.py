"""Files that others made: pydicom's, dcm_qa_ts, dcm_qa_ct_ge; dcm2niix, where it is installed, is the judge."""

import importlib.util
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import GeometryError
from pipeline.sources.dicom.series import load_series
from pipeline.sources.options import ReadOptions

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
SYNTAXES = DATA / "dcm_qa_ts"
TILTED = DATA / "dcm_qa_ct_ge" / "In"
needs_syntaxes = pytest.mark.skipif(not SYNTAXES.is_dir(), reason="the data folder has no dicom/dcm_qa_ts")
needs_tilted = pytest.mark.skipif(not TILTED.is_dir(), reason="the data folder has no dicom/dcm_qa_ct_ge")
needs_dcm2niix = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")


def _corpora():
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "dicom_corpora.py"
    spec = importlib.util.spec_from_file_location("dicom_corpora", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_of_pydicom_has_an_end_and_no_voxel_differs(decoders):
    corpora = _corpora()
    ends = list(corpora.pydicom_ends(decoders))
    assert [one.path for one in ends] == corpora.pydicom_files()
    assert {one.end for one in ends} == {"volume", "non-image", "quarantined"}
    assert all(one.reason for one in ends if one.end != "volume")
    assert not [one for one in ends if "crashed" in one.reason]
    pixels = Counter(one.pixels for one in ends if one.end == "volume")
    assert pixels["equal"] >= 80
    assert not pixels["differ"]


@needs_syntaxes
@pytest.mark.parametrize("number", range(1, 10))
def test_mosaic_equals_its_reference_in_every_transfer_syntax(number):
    (scan,) = load_series([SYNTAXES / "In" / f"{number}.dcm"])
    reference = nib.as_closest_canonical(nib.load(SYNTAXES / "Ref" / f"{number}.nii"))
    ours = nib.as_closest_canonical(nib.Nifti1Image(scan.image[0].astype(np.int16), scan.grid.affine))
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(reference.dataobj))
    np.testing.assert_allclose(ours.affine, reference.affine, atol=2e-5)  # the reference's is float32


@needs_tilted
def test_tilted_ct_with_two_thicknesses_is_refused_with_both_reasons():
    with pytest.raises(GeometryError, match=r"gantry tilt of 18\.5 degrees.*uneven, 1\.08 … 7\.00 mm"):
        load_series(sorted(TILTED.glob("*.dcm")))


@needs_tilted
@needs_dcm2niix
@pytest.mark.parametrize(("part", "first", "last"), [("4 mm", 1, 14), ("7 mm", 15, 28)])
def test_sheared_ct_agrees_with_dcm2niix(part, first, last, tmp_path):
    scans = load_series(sorted(TILTED.glob("*.dcm")), ReadOptions(tilt="shear"))
    (scan,) = [one for one in scans if one.part == f"slice thickness {part}"]
    (tmp_path / "in").mkdir()
    for number in range(first, last + 1):
        (tmp_path / "in" / f"{number:02d}.dcm").symlink_to(TILTED / f"{number:02d}.dcm")
    subprocess.run(
        ["dcm2niix", "-o", str(tmp_path), "-f", "made", str(tmp_path / "in")], check=True, capture_output=True
    )
    theirs = nib.load(tmp_path / "made_Tilt_1.nii")
    # dcm2niix stores rows from the bottom up: the same grid with j reversed.
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1, theirs.shape[1] - 1
    assert scan.grid.shape == theirs.shape
    np.testing.assert_allclose(scan.grid.affine, theirs.affine @ flip, atol=1e-3)
    difference = np.abs(scan.image[0].astype(int) - np.asarray(theirs.dataobj)[:, ::-1].astype(int))
    # Halves are rounded differently, and dcm2niix leaves out the outermost half pixel of a moved slice.
    assert (difference > 1).mean() < 1e-5
    assert (difference > 0).mean() < 1e-4


@needs_dcm2niix
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_plain_series_agrees_with_dcm2niix(plane, tmp_path):
    from tests.sources.written import dataset, oblique_voxels, write

    row, column = {
        "axial": ([1, 0, 0], [0, 1, 0]),
        "coronal": ([1, 0, 0], [0, 0, -1]),
        "sagittal": ([0, 1, 0], [0, 0, -1]),
    }[plane]
    voxels = oblique_voxels()
    for k in range(voxels.shape[2]):
        elements = {
            "ImagePositionPatient": (np.array([-30, 20, 10]) + 4.0 * k * np.cross(row, column)).tolist(),
            "ImageOrientationPatient": [*row, *column],
            "PixelSpacing": [2.0, 0.5],
            "SliceThickness": 4.0,
            "RescaleIntercept": -24,
            "RescaleSlope": 1,
            "InstanceNumber": k + 1,
            "SeriesNumber": 1,
            "StudyDate": "20200101",
        }
        write(dataset(np.ascontiguousarray(voxels[:, :, k].T), **elements), tmp_path / "in" / f"{k}.dcm")
    (scan,) = load_series(sorted((tmp_path / "in").glob("*.dcm")))
    subprocess.run(
        ["dcm2niix", "-o", str(tmp_path), "-f", "made", str(tmp_path / "in")], check=True, capture_output=True
    )
    theirs = nib.as_closest_canonical(nib.load(tmp_path / "made.nii"))
    ours = nib.as_closest_canonical(nib.Nifti1Image(scan.image[0], scan.grid.affine))
    np.testing.assert_array_equal(np.asarray(ours.dataobj), theirs.get_fdata())
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
