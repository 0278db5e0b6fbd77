import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom.plane import load_plane
from tests.sources.written import SECONDARY_CAPTURE, dataset, write

GREY = np.zeros((5, 7), dtype=np.uint8)


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
    with pytest.raises(SourceError, match=r"one frame, this one \(CT\) has 2"):
        _plane(archive, np.zeros((4, 4), dtype=np.uint8), NumberOfFrames=2)


def test_rescale_of_a_picture_is_applied(archive):
    values = np.array([[0, 200]], dtype=np.uint16)
    assert _plane(archive, values, RescaleSlope=1, RescaleIntercept=-100).image[0].T.tolist() == [[-100, 100]]
    assert _plane(archive, values, RescaleSlope=0.5, RescaleIntercept=1).image[0].T.tolist() == [[1.0, 101.0]]


def test_monochrome1_is_inverted_within_the_range_of_its_rescale(archive):
    # Storable 0 … 255 become 10 … 265; 0 is the brightest.
    values = np.array([[0, 255]], dtype=np.uint8)
    scan = _plane(archive, values, PhotometricInterpretation="MONOCHROME1", RescaleSlope=1, RescaleIntercept=10)
    assert scan.image[0].T.tolist() == [[265, 10]]


def test_modality_look_up_table_is_applied(archive):
    table = Dataset()
    table.LUTDescriptor = [4, 10, 16]
    table.LUTData = np.array([1000, 2000, 3000, 4000], dtype="<u2").tobytes()
    table.ModalityLUTType = "US"
    # PS3.3 C.11.1.1.1: the first entry is for stored value 10 and below, the last for 13 and above.
    scan = _plane(archive, np.array([[0, 10], [12, 200]], dtype=np.uint16), ModalityLUTSequence=[table])
    assert scan.image[0].T.tolist() == [[1000, 1000], [3000, 4000]]


def test_bits_beyond_those_stored_are_no_part_of_the_value(archive):
    # An overlay in bit 12 of 12-bit values (PS3.5 8.1.1, retired overlays in pixel data).
    values = np.array([[0x1123, 0x0FFF]], dtype=np.uint16)
    scan = _plane(archive, values, BitsStored=12, HighBit=11)
    assert scan.image[0].T.tolist() == [[0x123, 0xFFF]]


def test_signed_odd_depth_keeps_its_sign(archive):
    # -5 in 10 bits is 0x3FB; the bits above may hold anything.
    values = np.array([[0x3FB, 0x005]], dtype=np.uint16)
    scan = _plane(archive, values, BitsStored=10, HighBit=9, PixelRepresentation=1)
    assert scan.image[0].T.tolist() == [[-5, 5]]


def test_high_bit_that_leaves_the_value_unclear_is_refused_and_else_noted(archive):
    with pytest.raises(SourceError, match=r"HighBit must be BitsStored - 1 .*got 15 and 12 of 16"):
        _plane(archive, np.zeros((2, 2), dtype=np.uint16), BitsStored=12, HighBit=15)
    scan = _plane(archive, np.zeros((2, 2), dtype=np.uint16), BitsStored=16, HighBit=3)
    assert scan.notes == ("HighBit is 3, though all 16 bits are stored: left aside",)


def test_imager_spacing_alone_is_no_size_in_the_patient(archive):
    scan = _plane(archive, GREY, ImagerPixelSpacing=[0.1, 0.2])
    assert scan.grid.unit == "px"
    assert scan.attributes["imager_pixel_spacing_mm"] == "0.2 x 0.1"
    assert "at the detector" in scan.notes[0]


def test_imager_spacing_is_divided_by_the_stated_magnification(archive):
    scan = _plane(archive, GREY, ImagerPixelSpacing=[0.1, 0.2], EstimatedRadiographicMagnificationFactor=1.25)
    assert scan.grid.unit == "mm"
    np.testing.assert_allclose(scan.grid.spacing, [0.16, 0.08])


def test_pixel_spacing_goes_before_imager_spacing(archive):
    scan = _plane(archive, GREY, ImagerPixelSpacing=[0.1, 0.1], PixelSpacing=[0.09, 0.09])
    np.testing.assert_allclose(scan.grid.spacing, [0.09, 0.09])
    assert scan.notes == ()
    (note,) = _plane(archive, GREY, ImagerPixelSpacing=[0.1, 0.1], PixelSpacing=[0.1, 0.1]).notes
    assert "not corrected for magnification" in note


def _region(across_cm, down_cm, **elements):
    region = Dataset()
    standard = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": across_cm,
        "PhysicalDeltaY": down_cm,
    }
    for keyword, value in {**standard, **elements}.items():
        setattr(region, keyword, value)
    return region


def test_ultrasound_region_gives_millimetres(archive):
    spectrum = _region(0.5, 0.5, RegionSpatialFormat=3, PhysicalUnitsXDirection=4)
    scan = _plane(archive, GREY, SequenceOfUltrasoundRegions=[_region(0.02, -0.03), spectrum])
    assert scan.grid.unit == "mm"
    np.testing.assert_allclose(scan.grid.spacing, [0.2, 0.3])


def test_ultrasound_regions_of_two_scales_give_pixels(archive):
    scan = _plane(archive, GREY, SequenceOfUltrasoundRegions=[_region(0.02, 0.02), _region(0.05, 0.05)])
    assert scan.grid.unit == "px"
    assert "2 ultrasound regions" in scan.notes[0]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PixelSpacing": [0.1, 0.0]}, "PixelSpacing must be above 0"),
        ({"ImagerPixelSpacing": [-0.1, 0.1]}, "ImagerPixelSpacing must be above 0"),
        ({"ImagerPixelSpacing": [1, 1], "EstimatedRadiographicMagnificationFactor": 0.5}, "at least 1, got 0.5"),
        ({"SequenceOfUltrasoundRegions": [_region(0.0, 0.1)]}, "must not be 0"),
        ({"SequenceOfUltrasoundRegions": [_region(0.1, 0.1)], "PixelSpacing": [0.5, 0.5]}, "contradict each other"),
    ],
)
def test_sizes_that_cannot_be_are_refused(archive, elements, message):
    with pytest.raises(GeometryError, match=message):
        _plane(archive, GREY, **elements)


def test_burned_in_annotation_is_told(archive):
    (note,) = _plane(archive, GREY, BurnedInAnnotation="YES").notes
    assert "burned into the pixels" in note
