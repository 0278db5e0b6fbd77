import struct

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.series import load_series
from pipeline.sources.scan import RefusedFiles
from tests.sources.written import OBLIQUE_NORMAL, oblique_slice, write

MOSAIC = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
MR = "1.2.840.10008.5.1.4.1.1.4"


def _csa(**tags):
    """A CSA2 header ("SV10") of float or integer tags."""
    made = b"SV10\x04\x03\x02\x01" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        items = [str(value).encode() + b"\0" for value in values]
        made += struct.pack("<64si4s3i", name.encode(), len(items), b"FD", 0, len(items), 77)
        for item in items:
            made += struct.pack("<4i", len(item), len(item), 77, len(item)) + item + b"\0" * (-len(item) % 4)
    return made


def _mosaic(voxels, header="default", normal=OBLIQUE_NORMAL, **elements):
    """``voxels`` is (i, j, k), up to 9 slices; the first pixel of slice 0 lies at LPS (10, -20, 30)."""
    columns, rows, count = voxels.shape
    across = int(np.ceil(np.sqrt(count)))
    picture = np.zeros((rows * across, columns * across), dtype=np.int16)
    for k in range(count):
        down, right = divmod(k, across)
        picture[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns] = voxels[:, :, k].T
    # Siemens: the corner of a picture of this size around the slice's centre; pixels of 0.5 mm along (.8, .6, 0) and
    # 2 mm along (0, 0, -1).
    beyond_i, beyond_j = (across - 1) * columns / 2 * 0.5, (across - 1) * rows / 2 * 2.0
    corner = np.array([10.0, -20, 30]) - beyond_i * np.array([0.8, 0.6, 0]) - beyond_j * np.array([0, 0, -1.0])
    standard = {"ImageType": MOSAIC, "ImagePositionPatient": corner.tolist(), "SpacingBetweenSlices": 3.5}
    made = oblique_slice(0, picture, SOPClassUID=MR, Modality="MR", **{**standard, **elements})
    if header == "default":
        header = _csa(NumberOfImagesInMosaic=[count], SliceNormalVector=normal)
    if header is not None:
        made.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)
    return made


def _voxels(seed=0, count=5):
    return np.random.default_rng(seed).integers(1, 900, (6, 4, count)).astype(np.int16)


def _load(archive):
    return load_series(sorted(archive.glob("*.dcm")))


def test_tiles_become_slices_where_the_private_header_says(archive):
    voxels = _voxels()
    write(_mosaic(voxels), archive / "0.dcm")
    (scan,) = _load(archive)
    np.testing.assert_array_equal(scan.image[0], voxels)
    np.testing.assert_allclose(scan.grid.spacing, [0.5, 2.0, 3.5])
    # Slice 2's first pixel: LPS (10, -20, 30) + 7 * (-.6, .8, 0) = (5.8, -14.4, 30), RAS (-5.8, 14.4, 30).
    world = scan.grid.to_world(np.array([[0.0, 0, 0], [0, 0, 2]]))
    np.testing.assert_allclose(world, [[-10, 20, 30], [-5.8, 14.4, 30]], atol=1e-9)


def test_tiles_that_run_against_the_normal_are_turned_around(archive):
    voxels = _voxels()
    write(_mosaic(voxels, normal=[-one for one in OBLIQUE_NORMAL]), archive / "0.dcm")
    (scan,) = _load(archive)
    np.testing.assert_array_equal(scan.image[0], voxels[:, :, ::-1])
    np.testing.assert_allclose(scan.grid.to_world(np.array([[0.0, 0, 4]])), [[-10, 20, 30]], atol=1e-9)


def test_several_mosaics_are_volumes_in_the_order_of_their_instances(archive):
    for name, number in (("a", 10), ("b", 9)):
        write(_mosaic(_voxels(number), InstanceNumber=number), archive / f"{name}.dcm")
    scans = _load(archive)
    assert [scan.part for scan in scans] == ["volume 1 of 2", "volume 2 of 2"]
    np.testing.assert_array_equal(scans[0].image[0], _voxels(9))


def test_identical_mosaic_is_taken_once_and_told(archive):
    for name in "ab":
        write(_mosaic(_voxels()), archive / f"{name}.dcm")
    (scan,) = _load(archive)
    assert scan.part == ""
    assert scan.copies == (str(archive / "b.dcm"),)


def test_count_may_stand_in_an_element_of_its_own(archive):
    voxels = _voxels()
    made = _mosaic(voxels, header=_csa(SliceNormalVector=OBLIQUE_NORMAL))
    made.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 5)
    write(made, archive / "0.dcm")
    np.testing.assert_array_equal(_load(archive)[0].image[0], voxels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"header": None}, "no header says of how many slices"),
        ({"header": b"SV10" + b"\xff" * 300}, "private header cannot be read"),
        ({"header": _csa(NumberOfImagesInMosaic=[5])}, "no SliceNormalVector"),
        ({"header": _csa(NumberOfImagesInMosaic=[0], SliceNormalVector=OBLIQUE_NORMAL)}, "header says 0"),
        ({"header": _csa(NumberOfImagesInMosaic=[6], SliceNormalVector=OBLIQUE_NORMAL)}, "further tile is not empty"),
        ({"header": _csa(NumberOfImagesInMosaic=[40], SliceNormalVector=OBLIQUE_NORMAL)}, "7 x 7 tiles"),
        ({"normal": (1.0, 0.0, 0.0)}, "must be normal to its rows and columns"),
        ({"SpacingBetweenSlices": None}, "no SpacingBetweenSlices"),
    ],
)
def test_mosaic_that_does_not_say_where_its_slices_are_is_refused(archive, arguments, message):
    write(_mosaic(_voxels(count=7 if "further" in message else 5), **arguments), archive / "0.dcm")
    with pytest.raises(SourceError, match=message):
        _load(archive)


def test_mosaics_and_plain_slices_of_one_series_are_kept_apart(archive):
    write(_mosaic(_voxels()), archive / "a.dcm")
    for k in range(3):
        made = oblique_slice(k, np.full((8, 12), k, dtype=np.int16), SOPClassUID=MR, Modality="MR")
        write(made, archive / f"b{k}.dcm")
    found = _load(archive)
    assert not any(isinstance(one, RefusedFiles) for one in found)
    assert [scan.grid.shape for scan in found] == [(6, 4, 5), (12, 8, 3)]
