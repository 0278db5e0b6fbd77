"""Files with known faults (``dicom/bad`` of the data folder): each ends as its manifest expects."""

import csv
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.series import load_series
from pipeline.sources.ingest import ingest
from pipeline.sources.read import read_scans

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve()
BAD = DATA / "dicom" / "bad"
# The manifest says that its pixel data are of odd length; the file declares and holds the right, even length.
WITHOUT_FAULT = {"dicom/odd_pixels.dcm"}
# A mask is refused as the pair of an image, so only an ingest can tell (see below).
PAIRS = {"nifti/mask_shift.nii.gz"}


def _rows():
    if not (BAD / "MANIFEST.csv").is_file():
        return []
    with (BAD / "MANIFEST.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


ROWS = {
    row["path"]: row["expected"]
    for row in _rows()
    if not row["path"].startswith("archive/") and row["path"] not in PAIRS
}
needs_data = pytest.mark.skipif(not ROWS, reason="the data folder has no dicom/bad")


def _expected(path):
    expected = ROWS[path]
    if path in WITHOUT_FAULT or expected.startswith("accept") or expected in ("apply per slice", "sort by position"):
        return "read"
    if expected.startswith("reject") and not any(word in expected for word in ("warn", "split", "flag")):
        return "refused"
    return "either"


@needs_data
@pytest.mark.parametrize("path", [path for path in ROWS if _expected(path) != "either"])
def test_fault_ends_as_expected(path, decoders):
    if _expected(path) == "refused":
        with pytest.raises(SourceError):
            read_scans(BAD / path, decoders)
    else:
        assert read_scans(BAD / path, decoders)[0].image.size > 0


@needs_data
@pytest.mark.parametrize("path", [path for path in ROWS if _expected(path) == "either"])
def test_fault_with_several_right_ends_is_read_or_refused(path, decoders):
    reason = ""
    try:
        scans = read_scans(BAD / path, decoders)
    except SourceError as error:
        scans, reason = [], str(error)
    assert all(np.isfinite(scan.image).all() for scan in scans)
    assert scans or reason
    assert "crashed" not in reason
    assert "longer than" not in reason


@needs_data
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("series/missing_slice", r"1 slice\(s\) missing .* 10.00 mm instead of 5.00 mm"),
        ("series/uneven_spacing", "uneven, 5.00 … 6.70 mm"),
        ("series/duplicate_position", "2 slices lie at one place"),
        ("series/mixed_matrix", "64 x 32 and 64 x 64"),
        ("series/mixed_orientation", "1 of 12 slices"),
        ("nifti/sform_qform_flip.nii", "one is mirrored"),
        ("dicom/ts_unknown.dcm", "1.2.3.4.5.6.7.8.9.10"),
    ],
)
def test_flag_names_the_fault(path, reason, decoders):
    with pytest.raises(SourceError, match=reason):
        read_scans(BAD / path, decoders)


@needs_data
def test_two_phases_are_split_and_reversed_instances_sorted(decoders):
    phases = read_scans(BAD / "series" / "two_phases", decoders)
    assert [scan.grid.shape for scan in phases] == [(64, 64, 6)] * 2
    (ok,) = read_scans(BAD / "series" / "ok", decoders)
    (reversed_,) = read_scans(BAD / "series" / "instance_reversed", decoders)
    np.testing.assert_array_equal(ok.image, reversed_.image)


@needs_data
def test_whole_folder_of_faults_is_accounted_for(settings):
    summary = ingest(BAD, settings)
    on_disk = {path.relative_to(BAD).as_posix() for path in BAD.rglob("*") if path.is_file()}
    assert {file.path for file in summary.files if ".zip/" not in file.path} == on_disk
    assert all(file.reason for file in summary.files if file.outcome != "ingested")
    opened = {file.path: file.outcome for file in summary.files if file.kind == "archive"}
    assert {Path(path).name: outcome for path, outcome in opened.items()} == {
        "abs.zip": "quarantined",
        "bomb_200mb.zip": "quarantined",
        "cut.zip": "quarantined",
        "unicode.zip": "ingested",
    }
    mask = next(file for file in summary.files if file.path == "nifti/mask_shift.nii.gz")
    assert mask.outcome == "quarantined"


@needs_data
def test_ct_with_tilt_and_uneven_slices_is_refused_for_both(decoders):
    with pytest.raises(SourceError, match=r"gantry tilt of 18\.5 degrees.*uneven"):
        read_scans(DATA / "dicom" / "dcm_qa_ct_ge", decoders)


@needs_data
def test_mosaic_and_its_reference_are_the_same_volume(decoders):
    folder = DATA / "dicom" / "dcm_qa_ts"
    (mosaic,) = read_scans(folder / "In" / "1.dcm", decoders)
    assert mosaic.grid.shape == (64, 64, 35)
    (scan,) = read_scans(folder / "Ref" / "1.nii", decoders)
    reference = nib.load(folder / "Ref" / "1.nii")
    np.testing.assert_array_equal(scan.image[0], np.asarray(reference.dataobj))
    np.testing.assert_allclose(scan.grid.affine, reference.affine)


@needs_data
def test_series_of_public_ct_equals_its_slices():
    paths = sorted((DATA / "dicom" / "dcmqi" / "data" / "segmentations" / "ct-3slice").glob("*.dcm"))
    (scan,) = load_series(paths)
    # Positions z = -126.69, -127.69, -128.69 at 0.810547 mm, first pixel at LPS (-235.2, -226.8): RAS (235.2, 226.8).
    np.testing.assert_allclose(scan.grid.affine[:3, 3], [235.199997, 226.800003, -128.690002])
    np.testing.assert_allclose(np.diag(scan.grid.affine)[:3], [-0.810547, -0.810547, 1.0])
