import gzip

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.images.nifti import load_nifti
from pipeline.volumes.arrays import content_digest
from tests.phantoms import awkward_affine
from tests.sources.written import oblique_voxels, write_nifti


def _image(archive, affine=None, voxels=None):
    return write_nifti(
        archive / "a.nii",
        oblique_voxels() if voxels is None else voxels,
        awkward_affine() if affine is None else affine,
    )


def _read(*paths):
    """Every scan of the file(s), with its voxels: faults in them show when they are read."""
    return [(scan, np.asarray(scan.image[...])) for scan in load_nifti(list(paths))]


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
        (40, "<i2", [5, 12, 8, 3, 1, 2], r"dim\[5\] = 2 .* intent code 0"),
        (40, "<i2", [6, 12, 8, 1, 1, 1, 6], "up to 5 dimensions"),
        (40, "<i2", [4, 12, 8, 6, 30000], "at most 20000 volumes"),
        (70, "<i2", [32], "integer or real voxels .* got complex64"),
        (70, "<i2", [8], "datatype code 8 has 32 bits a voxel, bitpix says 16"),
        (70, "<i2", [7777], "datatype code 7777"),
        (80, "<f4", [0.0], r"pixdim must be above 0, got \[0.0"),
        (80, "<f4", [-1.0], "pixdim must be above 0"),
        (108, "<f4", [-5.0], "vox_offset must be whole and 352"),
        (112, "<f4", [np.inf, 0.0], "scl_slope and scl_inter must be finite"),
        (254, "<i2", [0], "neither sform nor qform is given"),
        (108, "<f4", [np.inf], "vox_offset"),
        (123, "u1", [5], "spatial unit has code 5"),
        (280, "<f4", [0.0] * 12, "sform must be invertible"),
        (280, "<f4", [np.nan], "sform must be invertible"),
        (344, "u1", [0, 0, 0, 0], "ANALYZE 7.5, which states no orientation"),
        (344, "u1", [120, 43, 49, 0], "expected the magic"),
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


def test_qform_is_read_as_nibabel_reads_it(archive):
    affine = awkward_affine()
    image = nib.Nifti1Image(oblique_voxels(), affine)
    image.set_sform(None, code=0)
    image.set_qform(affine, code=1)
    nib.save(image, archive / "a.nii")
    np.testing.assert_allclose(load_nifti([archive / "a.nii"])[0].grid.affine, affine, atol=1e-5)


@pytest.mark.parametrize(("factor", "k_step"), [(0.0, 3.0), (1.0, 3.0), (-1.0, -3.0), (-7.0, -3.0)])
def test_qfac_of_zero_is_one_and_its_sign_counts(archive, factor, k_step):
    image = nib.Nifti1Image(oblique_voxels(), np.diag([2.0, 2.0, 3.0, 1.0]))
    image.set_sform(None, code=0)
    image.set_qform(np.diag([2.0, 2.0, 3.0, 1.0]), code=1)
    nib.save(image, archive / "a.nii")
    path = _with_header(archive / "a.nii", 76, "<f4", [factor])
    np.testing.assert_allclose(np.diag(load_nifti([path])[0].grid.affine), [2.0, 2.0, k_step, 1.0])


def test_half_a_turn_of_a_qform_is_exact_in_spite_of_rounding(archive):
    angle = np.deg2rad(145)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, :3] = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, -1, 0], [-np.sin(angle), 0, -np.cos(angle)]])
    image = nib.Nifti1Image(oblique_voxels(), affine)
    image.set_sform(None, code=0)
    image.set_qform(affine, code=1)
    nib.save(image, archive / "a.nii")
    np.testing.assert_allclose(load_nifti([archive / "a.nii"])[0].grid.affine, affine, atol=1e-6)


@pytest.mark.parametrize("quaternion", [[1.0, 1.0, 0.0], [np.nan, 0.0, 0.0]])
def test_quaternion_that_is_no_rotation_is_refused(archive, quaternion):
    path = _with_header(_image(archive), 252, "<i2", [1, 0])
    with pytest.raises(GeometryError, match="not a rotation"):
        load_nifti([_with_header(path, 256, "<f4", quaternion)])


def test_steps_that_contradict_the_sform_are_told(archive):
    path = _with_header(_image(archive, np.diag([1.0, 2.0, 3.0, 1.0])), 80, "<f4", [1.0, 2.0, 3.5])
    assert load_nifti([path])[0].notes == (
        "pixdim states steps of 1 x 2 x 3.5 mm, the sform, which is used, 1 x 2 x 3 mm",
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_each_volume_in_time_is_a_scan_with_its_seconds(archive, suffix):
    voxels = np.arange(4 * 3 * 2 * 5, dtype=np.int16).reshape(4, 3, 2, 5)
    image = nib.Nifti1Image(voxels, awkward_affine())
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4], image.header["toffset"] = 1500.0, 250.0
    nib.save(image, archive / f"a{suffix}")
    scans = _read(archive / f"a{suffix}")
    assert [scan.part for scan, _ in scans] == [f"volume {n} of 5" for n in range(1, 6)]
    assert [scan.attributes["time_s"] for scan, _ in scans] == ["0.25", "1.75", "3.25", "4.75", "6.25"]
    for number, (scan, values) in enumerate(scans):
        np.testing.assert_array_equal(values[0], voxels[..., number])
        np.testing.assert_allclose(scan.grid.affine, awkward_affine(), atol=1e-5)
    # Against the order of the file, by region, and twice.
    np.testing.assert_array_equal(scans[1][0].image[:, 1:3, :2, 1:2], voxels[None, 1:3, :2, 1:2, 1])
    np.testing.assert_array_equal(scans[4][0].image[0], voxels[..., 4])
    assert len({content_digest(scan.image) for scan, _ in scans}) == 5


def test_time_without_a_unit_is_not_stated(archive):
    image = nib.Nifti1Image(np.zeros((4, 3, 2, 2), dtype=np.int16), np.eye(4))
    nib.save(image, archive / "a.nii")
    assert "time_s" not in load_nifti([archive / "a.nii"])[0].attributes


def test_vector_of_the_fifth_dimension_is_channels(archive):
    voxels = np.arange(4 * 3 * 2 * 3, dtype=np.float32).reshape(4, 3, 2, 1, 3)
    image = nib.Nifti1Image(voxels, awkward_affine())
    image.header.set_intent("vector")
    nib.save(image, archive / "a.nii.gz")
    ((scan, values),) = _read(archive / "a.nii.gz")
    np.testing.assert_array_equal(values, np.moveaxis(voxels[:, :, :, 0], -1, 0))
    np.testing.assert_array_equal(scan.image[1:2, :, 1:, :1], voxels[:, 1:, :1, 0, 1][None])


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colours_are_three_channels_and_transparency_is_refused(archive, names):
    kind = np.dtype([(name, "u1") for name in names])
    plain = np.random.default_rng(0).integers(0, 256, (5, 4, 3, len(names))).astype(np.uint8)
    plain[..., 3:] = 255
    nib.save(nib.Nifti1Image(plain.view(kind)[..., 0], np.eye(4)), archive / "a.nii")
    ((scan, values),) = _read(archive / "a.nii")
    assert scan.image.shape == (3, 5, 4, 3)
    np.testing.assert_array_equal(values, np.moveaxis(plain[..., :3], -1, 0))
    np.testing.assert_array_equal(scan.image[1:3, 2:4, :, :2], np.moveaxis(plain[2:4, :, :2, 1:3], -1, 0))
    if names == "RGBA":
        plain[1, 1, 1, 3] = 9
        nib.save(nib.Nifti1Image(plain.view(kind)[..., 0], np.eye(4)), archive / "b.nii")
        with pytest.raises(SourceError, match="transparent voxels"):
            _read(archive / "b.nii")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_pair_of_header_and_voxels_is_read(archive, kind, packed):
    voxels = oblique_voxels()
    nib.save(kind(voxels, awkward_affine()), archive / "a.img")
    paths = [archive / "a.hdr", archive / "a.img"]
    if packed:
        paths = [path.with_name(path.name + ".gz") for path in paths]
        for path in paths:
            path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    ((scan, values),) = _read(*paths)
    np.testing.assert_array_equal(values[0], voxels)
    np.testing.assert_allclose(scan.grid.affine, awkward_affine(), atol=1e-5)
    with pytest.raises(SourceError, match=r"a pair of \.hdr and \.img, got 1 file"):
        load_nifti(paths[:1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_extensions_are_passed_over(archive, suffix):
    image = nib.Nifti1Image(oblique_voxels(), awkward_affine())
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"secret " * 100))
    nib.save(image, archive / f"a{suffix}")
    np.testing.assert_array_equal(_read(archive / f"a{suffix}")[0][1][0], oblique_voxels())


def test_file_that_ends_before_its_voxels_is_refused(archive):
    path = _with_header(_image(archive), 108, "<f4", [1e6])
    with pytest.raises(SourceError, match="0 are there"):
        load_nifti([path])
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(SourceError, match="ends before its voxels"):
        _read(path)


def test_bytes_behind_the_voxels_are_told(archive):
    path = _image(archive)
    path.write_bytes(path.read_bytes() + b"\1" * 4096)
    assert load_nifti([path])[0].notes == ("4096 bytes follow the voxels and are not read",)


def test_gzip_that_goes_on_behind_the_voxels_is_not_inflated_without_end(archive):
    path = _image(archive)
    path.write_bytes(gzip.compress(path.read_bytes() + b"\0" * (65 << 20)))
    with pytest.raises(SourceError, match="more than 64 MiB follow the voxels"):
        _read(path)


def test_values_beyond_float32_are_refused_and_not_made_infinite(archive):
    voxels = np.zeros((4, 4, 4))
    voxels[0, 0, 1] = 1e300
    path = _image(archive, voxels=voxels)
    with pytest.raises(SourceError, match="1 of 64 voxels are not finite numbers, or too large"):
        _read(path)
    with pytest.raises(SourceError, match="too large for float32"):
        _read(_with_header(_image(archive), 112, "<f4", [3e38, 3e38]))


def test_cut_voxels_header_and_gzip_are_refused(archive):
    path = _image(archive)
    whole = path.read_bytes()
    for data, message in ((whole[:-1], "voxel data are cut"), (whole[:300], "header is cut"), (b"", "an empty file")):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=message):
            load_nifti([path])
    packed = gzip.compress(whole)
    for data, message in (
        (packed[:20], "gzip stream is damaged or cut"),
        (packed[:-20], "voxel data are damaged or cut"),
        (packed[:-1] + b"\xff", "voxel data are damaged or cut"),
        (packed[:-6] + b"\xff" + packed[-5:], "voxel data are damaged or cut"),
        (gzip.compress(whole[:-2]), "voxel data are cut: 1152 bytes are needed, 1150"),
    ):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=message):
            _read(path)


def test_voxels_that_are_no_numbers_are_refused(archive):
    voxels = np.zeros((4, 4, 4), dtype=np.float32)
    voxels[1, 2, 3] = np.nan
    with pytest.raises(SourceError, match="1 of 64 voxels are not finite"):
        _read(_image(archive, voxels=voxels))
