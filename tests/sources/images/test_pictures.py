import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import AnnotationError, SourceError
from pipeline.sources.annotations.label_maps import load_label_map
from pipeline.sources.images.pictures import load_picture
from tests.phantoms import awkward_affine
from tests.sources.written import write_nifti, write_png

COLOUR = (np.arange(6 * 9 * 3) * 5 % 251).reshape(6, 9, 3).astype(np.uint8)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_tiff_is_transposed_to_columns_first(archive, compression):
    Image.fromarray(COLOUR).save(archive / "a.tif", compression=compression)
    np.testing.assert_array_equal(load_picture([archive / "a.tif"])[0].image, COLOUR.transpose(2, 1, 0))


def test_png_of_colour_grey_and_16_bit_keep_their_values(archive):
    assert (
        load_picture([write_png(archive / "rgb.png", COLOUR)])[0].image.tolist() == COLOUR.transpose(2, 1, 0).tolist()
    )
    deep = np.array([[0, 65535], [300, 1]], dtype=np.uint16)
    scan = load_picture([write_png(archive / "deep.png", deep)])[0]
    assert scan.image.tolist() == [deep.T.tolist()]
    assert scan.grid.unit == "px"


def test_opaque_alpha_is_dropped_and_transparency_refused(archive):
    alpha = np.dstack([COLOUR, np.full((6, 9), 255, dtype=np.uint8)])
    assert load_picture([write_png(archive / "a.png", alpha)])[0].image.shape == (3, 9, 6)
    alpha[2, 2, 3] = 10
    with pytest.raises(SourceError, match="transparent"):
        load_picture([write_png(archive / "b.png", alpha)])[0]


def test_physical_size_of_ome_tiff_counts(archive):
    size = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(archive / "a.ome.tif", COLOUR[:, :, 0], metadata=size)
    scan = load_picture([archive / "a.ome.tif"])[0]
    assert scan.grid.unit == "mm"
    np.testing.assert_allclose(scan.grid.spacing, [0.0005, 0.00025])


def test_resolution_in_centimetres_counts_and_print_size_does_not(archive):
    tifffile.imwrite(archive / "a.tif", COLOUR, resolution=(20000, 10000), resolutionunit="CENTIMETER")
    np.testing.assert_allclose(load_picture([archive / "a.tif"])[0].grid.spacing, [0.0005, 0.001])
    tifffile.imwrite(archive / "b.tif", COLOUR, resolution=(300, 300), resolutionunit="INCH")
    assert load_picture([archive / "b.tif"])[0].grid.unit == "px"


def test_several_pages_and_damaged_files_are_refused(archive):
    tifffile.imwrite(archive / "a.tif", np.zeros((3, 8, 9), dtype=np.uint16), photometric="minisblack")
    with pytest.raises(SourceError, match="a stack states no geometry"):
        load_picture([archive / "a.tif"])[0]
    path = write_png(archive / "b.png", COLOUR)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SourceError, match="damaged or cut"):
        load_picture([path])[0]


def test_picture_turned_by_exif_is_refused(archive):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOUR).save(archive / "a.jpg", exif=exif)
    with pytest.raises(SourceError, match="EXIF orientation 6"):
        load_picture([archive / "a.jpg"])[0]


# Two diagonal neighbours and a far pixel, (row, column).
PIECES = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 1]], dtype=np.uint8)


def test_instances_are_one_object_a_value_however_many_pieces(archive):
    label_map, objects = load_label_map(write_png(archive / "a.png", PIECES), "instances", "picture")
    assert label_map.shape == (5, 3)
    # Columns 1 … 4 and rows 1 … 2, with half a pixel around.
    assert objects.boxes.lower.tolist() == [[0.5, 0.5]]
    assert objects.boxes.upper.tolist() == [[4.5, 2.5]]


def test_binary_2d_mask_is_its_8_connected_pieces(archive):
    _, objects = load_label_map(write_png(archive / "a.png", PIECES * 255), "mask", "picture")
    assert objects.boxes.lower.tolist() == [[0.5, 0.5], [3.5, 1.5]]
    assert objects.boxes.upper.tolist() == [[2.5, 2.5], [4.5, 2.5]]


def _pieces_3d():
    voxels = np.zeros((10, 8, 6), dtype=np.uint8)
    voxels[1:3, 1:3, 1:3] = 1  # 8 voxels
    voxels[3, 3, 3] = 1  # touches by a corner: 26-connected
    voxels[7:9, 5:7, 4] = 1  # 4 voxels: too few to be a lesion
    return voxels


def test_binary_3d_mask_is_one_object(archive):
    path = write_nifti(archive / "a.nii.gz", _pieces_3d(), awkward_affine())
    label_map, objects = load_label_map(path, "mask", "nifti")
    assert objects.boxes.sizes.tolist() == [[8.0, 6.0, 4.0]]
    assert label_map.max() == 1


def test_lesions_are_26_connected_and_at_least_5_voxels(archive):
    path = write_nifti(archive / "a.nii.gz", _pieces_3d(), awkward_affine())
    label_map, objects = load_label_map(path, "lesions", "nifti")
    assert objects.boxes.lower.tolist() == [[0.5, 0.5, 0.5]]
    assert objects.boxes.upper.tolist() == [[3.5, 3.5, 3.5]]
    assert (label_map > 0).sum() == 9


def test_labels_beyond_a_million_are_counted_densely(archive):
    voxels = np.zeros((4, 4, 4), dtype=np.int32)
    voxels[1, 1, 1], voxels[2, 2, 2] = 2_000_000_000, 7
    _, objects = load_label_map(write_nifti(archive / "a.nii", voxels, np.eye(4)), "instances", "nifti")
    assert objects.boxes.lower.tolist() == [[1.5] * 3, [0.5] * 3]


def test_fractions_negatives_and_colours_are_no_labels(archive):
    for values, message in ((0.5, "fractions"), (-1.0, "0 or above, got -1.0")):
        voxels = np.full((3, 3, 3), values, dtype=np.float32)
        with pytest.raises(AnnotationError, match=message):
            load_label_map(write_nifti(archive / "a.nii", voxels, np.eye(4)), "instances", "nifti")
    with pytest.raises(AnnotationError, match="one channel, got 3"):
        load_label_map(write_png(archive / "a.png", COLOUR), "instances", "picture")


def test_pixels_that_are_not_numbers_are_refused_with_their_count(tmp_path):
    import tifffile

    pixels = np.zeros((8, 8), np.float32)
    pixels[2, 3:5] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(SourceError, match="2 of 64 pixels are not finite"):
        load_picture([tmp_path / "a.tif"])[0]
