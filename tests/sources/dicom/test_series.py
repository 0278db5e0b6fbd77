import numpy as np
import pytest
from pydicom.uid import RLELossless

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom.plane import load_plane
from pipeline.sources.dicom.series import load_series
from tests.sources.written import (
    SECONDARY_CAPTURE,
    dataset,
    oblique_slice,
    oblique_voxels,
    write,
    write_oblique_series,
)


def _load(folder):
    return load_series(sorted(folder.glob("*.dcm")))


def _refused(folder, match):
    with pytest.raises(SourceError, match=match):
        _load(folder)


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
    assert scans[0].notes == ("one of 2 volumes of the series, by TemporalPositionIdentifier",)


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


def test_other_matrix_is_refused_with_both_sizes(archive):
    write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16)), archive / "0.dcm")
    write(oblique_slice(1, np.zeros((4, 12), dtype=np.int16)), archive / "1.dcm")
    _refused(archive, "got 12 x 4 and 12 x 8")


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


def _plane(archive, values, **elements):
    return load_plane([write(dataset(values, SECONDARY_CAPTURE, **elements), archive / "plane.dcm")])[0]


def test_colour_picture_is_transposed_to_columns_first(archive):
    values = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    scan = _plane(archive, values, Modality="SM")
    assert scan.image.shape == (3, 7, 5)
    np.testing.assert_array_equal(scan.image, values.transpose(2, 1, 0))
    assert (scan.grid.unit, scan.modality) == ("px", "SM")


def test_planar_colour_gives_the_same_picture(archive):
    values = np.arange(5 * 8 * 3, dtype=np.uint8).reshape(5, 8, 3)
    planar = values.transpose(2, 0, 1).tobytes()
    scan = _plane(archive, values, PlanarConfiguration=1, PixelData=planar)
    np.testing.assert_array_equal(scan.image, values.transpose(2, 1, 0))


def test_ybr_becomes_rgb(archive):
    # PS3.3 C.7.6.3.1.2: Y = 76, CB = 85, CR = 255 is pure red.
    values = np.full((4, 4, 3), (76, 85, 255), dtype=np.uint8)
    scan = _plane(archive, values, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(scan.image[:, 0, 0], [254, 0, 0], atol=1)


def test_monochrome1_is_inverted_within_the_stored_bits(archive):
    values = np.array([[0, 4095], [1000, 4095]], dtype=np.uint16)
    scan = _plane(archive, values, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    assert scan.image[0].T.tolist() == [[4095, 0], [3095, 0]]


def test_palette_becomes_rgb(archive):
    red, green, blue = (np.array(v, dtype=np.uint16).tobytes() for v in ([0, 65535], [0, 32768], [65535, 0]))
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, table in (("Red", red), ("Green", green), ("Blue", blue)):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = table
    scan = _plane(archive, np.array([[0, 1], [1, 0]], dtype=np.uint8), **elements)
    assert scan.image[:, 0, 0].tolist() == [0, 0, 255]
    assert scan.image[:, 1, 0].tolist() == [255, 128, 0]


def test_pixel_spacing_of_a_picture_is_rows_first(archive):
    scan = _plane(archive, np.zeros((5, 7), dtype=np.uint8), PixelSpacing=[0.25, 0.5])
    assert scan.grid.unit == "mm"
    # Pixel (i, j) = (4, 2): x = 4 * 0.5, y = 2 * 0.25.
    np.testing.assert_allclose(scan.grid.to_world(np.array([[4.0, 2.0]])), [[2.0, 0.5]])


def test_multi_frame_picture_is_refused(archive):
    with pytest.raises(SourceError, match="multi-frame objects are not read yet"):
        _plane(archive, np.zeros((4, 4), dtype=np.uint8), NumberOfFrames=2)


def test_siemens_mosaic_is_refused_and_not_taken_for_a_slice(archive):
    write(
        oblique_slice(0, np.zeros((8, 12), dtype=np.int16), ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
        archive / "0.dcm",
    )
    with pytest.raises(GeometryError, match="mosaic"):
        _load(archive)
