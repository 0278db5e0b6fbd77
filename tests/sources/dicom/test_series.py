import re

import numpy as np
import pytest
from pydicom.uid import RLELossless

from pipeline.errors import SourceError
from pipeline.sources.dicom.series import load_series
from pipeline.sources.scan import RefusedFiles
from tests.sources.written import oblique_slice, oblique_voxels, write, write_oblique_series


def _load(folder):
    return load_series(sorted(folder.glob("*.dcm")))


def _refused(folder, match):
    try:
        found = _load(folder)
    except SourceError as error:
        reasons = [str(error)]
    else:
        assert {type(one) for one in found} == {RefusedFiles}
        reasons = [one.reason for one in found]
    assert re.search(match, reasons[0])


def test_oblique_series_lies_where_its_header_says(archive):
    voxels = oblique_voxels()
    write_oblique_series(archive, voxels)
    (scan,) = _load(archive)
    assert scan.image.shape == (1, 12, 8, 6)
    np.testing.assert_array_equal(scan.image[0], voxels)
    np.testing.assert_allclose(scan.grid.spacing, [0.5, 2.0, 4.0])
    # First voxel: LPS (10, -20, 30) is RAS (-10, 20, 30).
    # Voxel (5, 2, 4): + 2.5 * (.8, .6, 0) + 4 * (0, 0, -1) + 16 * (-.6, .8, 0) = LPS (2.4, -5.7, 26).
    world = scan.grid.to_world(np.array([[0.0, 0.0, 0.0], [5.0, 2.0, 4.0]]))
    np.testing.assert_allclose(world, [[-10.0, 20.0, 30.0], [-2.4, 5.7, 26.0]], atol=1e-9)


def test_rescale_is_applied_slice_by_slice(archive):
    values = np.full((4, 4), 100, dtype=np.int16)
    write(oblique_slice(0, values, RescaleSlope=1, RescaleIntercept=-1024), archive / "0.dcm")
    write(oblique_slice(1, values, RescaleSlope=2, RescaleIntercept=-1024), archive / "1.dcm")
    (scan,) = _load(archive)
    assert scan.image[0, :, :, 0].tolist() == [[-924.0] * 4] * 4
    assert scan.image[0, :, :, 1].tolist() == [[-824.0] * 4] * 4


def test_unsigned_values_with_an_intercept_become_signed(archive):
    values = np.array([[0, 65535], [1024, 4000]], dtype=np.uint16)
    write(oblique_slice(0, values, RescaleIntercept=-1024), archive / "0.dcm")
    (scan,) = _load(archive)
    assert scan.image.dtype == np.int32
    assert scan.image[0, :, :, 0].T.tolist() == [[-1024, 64511], [0, 2976]]


def test_single_slice_is_a_volume_as_thick_as_it_says(archive):
    write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16), SliceThickness=3.0), archive / "0.dcm")
    (scan,) = _load(archive)
    assert scan.grid.shape == (12, 8, 1)
    np.testing.assert_allclose(scan.grid.spacing, [0.5, 2.0, 3.0])


def test_single_slice_without_thickness_is_refused(archive):
    write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16), SliceThickness=None), archive / "0.dcm")
    _refused(archive, "needs SliceThickness")


def test_missing_slice_is_refused_with_the_numbers(archive):
    write_oblique_series(archive, oblique_voxels(), leave_out=(3,))
    # Along the normal: (10, -20, 30) . (-.6, .8, 0) = -22, so slices 2 and 4 lie at -14 and -6.
    _refused(archive, r"1 slice\(s\) missing between -14.00 and -6.00 mm along the normal: 8.00 mm instead of 4.00")


def test_uneven_slices_are_refused(archive):
    for number, k in enumerate((0, 1, 2, 3.3)):
        write(oblique_slice(k, np.full((4, 4), number, dtype=np.int16)), archive / f"{number}.dcm")
    _refused(archive, r"uneven, 4.00 … 5.20 mm")


def test_gantry_tilt_is_refused_with_its_angle(archive):
    for k in range(3):
        # 4 mm along the normal (-.6, .8, 0) and 3 mm along the rows (.8, .6, 0): atan(3 / 4) = 36.9 degrees.
        position = [10 + k * (-2.4 + 2.4), -20 + k * (3.2 + 1.8), 30]
        write(oblique_slice(0, np.full((4, 4), k, dtype=np.int16), ImagePositionPatient=position), archive / f"{k}.dcm")
    _refused(archive, "gantry tilt of 36.9 degrees")


def test_identical_slice_is_taken_once_and_told(archive):
    voxels = oblique_voxels()
    write_oblique_series(archive, voxels)
    write(oblique_slice(2, np.ascontiguousarray(voxels[:, :, 2].T)), archive / "again.dcm")
    (scan,) = _load(archive)
    np.testing.assert_array_equal(scan.image[0], voxels)
    assert scan.copies == (str(archive / "again.dcm"),)
    assert scan.notes == ("1 identical copies of slices left out",)


def test_identical_slice_is_a_copy_though_its_numbers_and_times_are_new(archive):
    voxels = oblique_voxels()
    for k in range(6):
        made = oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T), AcquisitionNumber=k, ContentTime=f"08000{k}")
        write(made, archive / f"{k}.dcm")
    again = oblique_slice(2, np.ascontiguousarray(voxels[:, :, 2].T), AcquisitionNumber=77, ContentTime="090000")
    write(again, archive / "again.dcm")
    (scan,) = _load(archive)
    np.testing.assert_array_equal(scan.image[0], voxels)
    assert scan.copies == (str(archive / "again.dcm"),)


def test_two_different_slices_at_one_place_are_refused(archive):
    voxels = oblique_voxels()
    write_oblique_series(archive, voxels)
    write(oblique_slice(2, np.zeros((8, 12), dtype=np.int16)), archive / "other.dcm")
    _refused(archive, "2 slices lie at one place")


def test_two_phases_of_a_series_are_two_volumes(archive):
    first, second = oblique_voxels(seed=1), oblique_voxels(seed=2)
    write_oblique_series(archive / "a", first, TemporalPositionIdentifier=1)
    write_oblique_series(archive / "b", second, TemporalPositionIdentifier=2)
    scans = load_series(sorted(archive.rglob("*.dcm")))
    assert len(scans) == 2
    np.testing.assert_array_equal(scans[0].image[0], first)
    np.testing.assert_array_equal(scans[1].image[0], second)
    assert scans[0].notes == ("one of several volumes of the series: phase 1",)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PatientID": "P2"}, "2 different patients"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "1 of 6 slices have another orientation"),
        ({"PixelSpacing": [2.0, 0.6]}, "must share PixelSpacing"),
        ({"PixelSpacing": [2.0, 0.0]}, "PixelSpacing must be above 0"),
        ({"PixelSpacing": [2.0]}, "PixelSpacing must hold 2 numbers, got 1"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is missing"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "row direction must have length 1, got 2"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "right angles, got a cosine of 1"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"BitsStored": 17}, "BitsStored must be 1 … BitsAllocated, got 17 of 16"),
        ({"PhotometricInterpretation": "HSV"}, "PhotometricInterpretation must be one of"),
        ({"Rows": 4}, "the header calls for 96 bytes of pixels, 192 are there"),
        ({"NumberOfFrames": 2}, "one frame a file"),
    ],
)
def test_one_contradicting_slice_refuses_its_series(archive, elements, message):
    voxels = oblique_voxels()
    write_oblique_series(archive, voxels, leave_out=(3,))
    write(oblique_slice(3, np.ascontiguousarray(voxels[:, :, 3].T), **elements), archive / "odd.dcm")
    _refused(archive, message)


def test_fault_of_one_slice_names_its_file_beside_the_message(archive):
    write_oblique_series(archive, oblique_voxels(), leave_out=(0,))
    write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16), RescaleSlope=0), archive / "odd.dcm")
    with pytest.raises(SourceError) as caught:
        _load(archive)
    assert caught.value.path == str(archive / "odd.dcm")
    assert "odd" not in str(caught.value)


def test_slices_of_two_matrices_are_two_volumes(archive):
    write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16)), archive / "0.dcm")
    write(oblique_slice(1, np.zeros((4, 12), dtype=np.int16)), archive / "1.dcm")
    assert [(scan.grid.shape, scan.part) for scan in _load(archive)] == [
        ((12, 8, 1), "12 x 8 pixels"),
        ((12, 4, 1), "12 x 4 pixels"),
    ]


def test_compressed_slices_equal_plain_ones(archive):
    voxels = oblique_voxels()
    for k in range(voxels.shape[2]):
        made = oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T))
        made.compress(RLELossless, generate_instance_uid=False)
        write(made, archive / f"{k}.dcm")
    (scan,) = _load(archive)
    np.testing.assert_array_equal(scan.image[0], voxels)


def test_file_cut_inside_its_pixels_is_refused(archive):
    path = write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16)), archive / "0.dcm")
    path.write_bytes(path.read_bytes()[:-1])
    _refused(archive, "its last element declares 192 bytes, 191 are there")
