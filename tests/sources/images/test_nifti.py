import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.images.nifti import load_nifti
from tests.phantoms import awkward_affine
from tests.sources.written import oblique_voxels, write_nifti


def _image(archive, affine=None, voxels=None):
    return write_nifti(
        archive / "a.nii",
        oblique_voxels() if voxels is None else voxels,
        awkward_affine() if affine is None else affine,
    )


def _with_header(path, offset, dtype, values):
    """Overwrite header fields at their byte offset (NIfTI-1's layout)."""
    data = bytearray(path.read_bytes())
    raw = np.asarray(values, dtype=dtype).tobytes()
    data[offset : offset + len(raw)] = raw
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_oblique_flipped_volume_keeps_voxels_and_place(archive, suffix, kind):
    voxels, affine = oblique_voxels(), awkward_affine()
    nib.save(kind(voxels, affine), archive / f"a{suffix}")
    scan = load_nifti([archive / f"a{suffix}"])[0]
    np.testing.assert_array_equal(scan.image[0], voxels)
    assert scan.image.dtype == np.int16
    np.testing.assert_allclose(scan.grid.affine, affine, atol=1e-5)


def test_big_endian_file_is_read(archive):
    voxels = oblique_voxels()
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(voxels, awkward_affine(), header), archive / "a.nii")
    scan = load_nifti([archive / "a.nii"])[0]
    np.testing.assert_array_equal(scan.image[0], voxels)
    assert scan.image.dtype.isnative


def test_scaling_is_applied(archive):
    path = _with_header(_image(archive), 112, "<f4", [2.0, -100.0])
    np.testing.assert_array_equal(load_nifti([path])[0].image[0], oblique_voxels() * 2.0 - 100.0)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_scaling_leaves_the_stored_type(archive, slope):
    path = _with_header(_image(archive), 112, "<f4", [slope, 5.0])
    scan = load_nifti([path])[0]
    assert scan.image.dtype == np.int16
    np.testing.assert_array_equal(scan.image[0], oblique_voxels())


def test_metres_become_millimetres(archive):
    path = _with_header(_image(archive, np.diag([0.001, 0.002, 0.003, 1.0])), 123, "u1", [1])
    np.testing.assert_allclose(load_nifti([path])[0].grid.spacing, [1.0, 2.0, 3.0], rtol=1e-6)


def test_unstated_unit_is_told(archive):
    path = _with_header(_image(archive), 123, "u1", [0])
    assert load_nifti([path])[0].notes == ("the spatial unit is not stated; taken as millimetres",)


def test_2d_file_is_one_slice_and_trailing_ones_are_dropped(archive):
    flat = write_nifti(archive / "flat.nii", oblique_voxels()[:, :, 0], awkward_affine())
    assert load_nifti([flat])[0].grid.shape == (12, 8, 1)
    long = write_nifti(archive / "long.nii", oblique_voxels()[..., None, None], awkward_affine())
    assert load_nifti([long])[0].grid.shape == (12, 8, 6)


@pytest.mark.parametrize(
    ("offset", "dtype", "values", "message"),
    [
        (40, "<i2", [3, 32767, 32767, 32767], "need 65530.0 GiB, more than 4 GiB"),
        (40, "<i2", [9], r"dim\[0\] must be 2 … 7, got 9"),
        (40, "<i2", [3, 12, 0, 6], "every dimension must be at least 1"),
        (40, "<i2", [4, 12, 8, 3, 2], "expected one 3D volume"),
        (70, "<i2", [128], "integer or real voxels"),
        (70, "<i2", [7777], "datatype code 7777"),
        (80, "<f4", [0.0], r"pixdim must be above 0, got \[0.0"),
        (80, "<f4", [-1.0], "pixdim must be above 0"),
        (108, "<f4", [-5.0], "vox_offset must be at least 352"),
        (112, "<f4", [np.inf, 0.0], "scl_slope and scl_inter must be finite"),
        (254, "<i2", [0], "neither sform nor qform is given"),
        (280, "<f4", [0.0] * 12, "sform must be invertible"),
        (344, "u1", [0, 0, 0, 0], "expected the magic"),
    ],
)
def test_contradicting_header_is_refused(archive, offset, dtype, values, message):
    path = _with_header(_image(archive), offset, dtype, values)
    with pytest.raises(SourceError, match=message):
        load_nifti([path])[0]


def test_sheared_sform_is_refused(archive):
    sheared = np.diag([1.0, 1.0, 2.0, 1.0])
    sheared[0, 1] = 0.5
    with pytest.raises(GeometryError, match="sheared or tilted"):
        load_nifti([_image(archive, sheared)])[0]


def test_mirrored_sform_and_qform_are_refused(archive):
    image = nib.Nifti1Image(oblique_voxels(), np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(np.diag([1.0, 1.0, 2.0, 1.0]), code=1)
    image.set_sform(np.diag([-1.0, 1.0, 2.0, 1.0]), code=1)
    nib.save(image, archive / "a.nii")
    with pytest.raises(GeometryError, match="one is mirrored"):
        load_nifti([archive / "a.nii"])[0]


def test_sform_of_an_atlas_may_lie_elsewhere_than_the_scanner_and_wins(archive):
    image = nib.Nifti1Image(oblique_voxels(), np.eye(4))
    image.set_qform(np.diag([1.0, 1.0, 1.0, 1.0]), code=1)
    atlas = np.diag([1.0, 1.0, 1.0, 1.0])
    atlas[:3, 3] = [-90, -126, -72]
    image.set_sform(atlas, code=4)
    nib.save(image, archive / "a.nii")
    np.testing.assert_allclose(load_nifti([archive / "a.nii"])[0].grid.affine, atlas)
    image.set_sform(atlas, code=1)
    nib.save(image, archive / "b.nii")
    with pytest.raises(GeometryError, match=r"disagree by up to 170\.76 mm"):  # |(-90, -126, -72)|
        load_nifti([archive / "b.nii"])[0]


def test_cut_voxels_header_and_gzip_are_refused(archive):
    path = _image(archive)
    whole = path.read_bytes()
    for data, message in ((whole[:-1], "voxel data are cut"), (whole[:300], "header is cut"), (b"", "an empty file")):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=message):
            load_nifti([path])[0]
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(SourceError, match="gzip stream is damaged or cut"):
        load_nifti([path])[0]


def test_voxels_that_are_no_numbers_are_refused(archive):
    voxels = np.zeros((4, 4, 4), dtype=np.float32)
    voxels[1, 2, 3] = np.nan
    with pytest.raises(SourceError, match="1 of 64 voxels are not finite"):
        load_nifti([_image(archive, voxels=voxels)])[0]
