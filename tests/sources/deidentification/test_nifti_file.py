"""NIfTI: texts and extensions go, voxels and geometry stay."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.deidentification.nifti_file import deidentify_nifti

AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -6], [0, 0, 3, 7], [0, 0, 0, 1]])
VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
NAMES = (b"Doe", b"Jane", b"4711")


@pytest.fixture(params=[nib.Nifti1Image, nib.Nifti2Image], ids=["1", "2"])
def image(request):
    made = request.param(VOXELS, AFFINE)
    made.header["descrip"], made.header["aux_file"], made.header["intent_name"] = b"Jane Doe 4711", b"Doe.mat", b"Jane"
    if request.param is nib.Nifti1Image:
        made.header["db_name"] = b"4711"
    made.header.set_slope_inter(2.0, -3.0)
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    return made


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_texts_and_extensions_go_and_the_volume_stays(image, suffix, tmp_path):
    source, target = tmp_path / f"Doe{suffix}", tmp_path / "out" / f"x{suffix}"
    nib.save(image, source)
    found = deidentify_nifti(source, target)
    assert found["extensions"] == 1
    assert {"descrip", "aux_file", "intent_name"} <= set(found)
    data = target.read_bytes()
    data += gzip.decompress(data) if suffix.endswith(".gz") else b""
    assert not [name for name in NAMES if name in data]
    before, after = nib.load(source), nib.load(target)
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), VOXELS)
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    np.testing.assert_array_equal(after.affine, before.affine)


def test_bytes_behind_the_voxels_are_not_copied(tmp_path):
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(b"Jane Doe")
    deidentify_nifti(tmp_path / "a.nii", tmp_path / "b.nii")
    assert (tmp_path / "b.nii").stat().st_size == 352 + VOXELS.nbytes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:360], "cut: 40 bytes of voxels are missing"),
        (lambda data: data[:300], "not a single NIfTI file"),
        (lambda data: data[:344] + b"ni1\0" + data[348:], "a pair of files"),
        (lambda data: b"abcd" + data[4:], "no valid size"),
        (lambda data: data[:108] + b"\0\0\x80\xbf" + data[112:], "vox_offset points"),  # -1
        (lambda data: data[:108] + b"\0\0\xc0\x7f" + data[112:], "vox_offset points"),  # NaN
        (lambda data: data[:42] + b"\0\0" + data[44:], "dimensions or the data type"),
    ],
)
def test_damaged_files_are_refused_and_nothing_is_written(tmp_path, change, reason):
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes(change((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(SourceError, match=reason):
        deidentify_nifti(tmp_path / "a.nii", tmp_path / "out" / "b.nii")
    assert not list(tmp_path.rglob("*b.nii*"))


def test_a_stream_that_ends_early_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"damaged or cut|is cut"):
        deidentify_nifti(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
