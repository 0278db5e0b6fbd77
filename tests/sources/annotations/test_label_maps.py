import nrrd
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.label_maps import read_label_map
from pipeline.sources.annotations.read import contents, read_annotations
from tests.phantoms import awkward_affine
from tests.sources.written import write_nifti, write_png

# Two diagonal neighbours and a far pixel, (row, column).
PIECES = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 1]], dtype=np.uint8)


def _read(path, rule, out):
    """The one label map of a file, through the child's reply and back."""
    (one,) = contents(read_annotations(path, f"label-map-{rule}", out)).sets
    return one


def test_instances_are_one_object_a_value_however_many_pieces(tmp_path):
    one = _read(write_png(tmp_path / "a.png", PIECES), "instances", tmp_path / "out")
    assert one.grid.shape == (5, 3)
    # Columns 1 … 4 and rows 1 … 2, with half a pixel around.
    assert (one.boxes.lower.tolist(), one.boxes.upper.tolist()) == ([[0.5, 0.5]], [[4.5, 2.5]])


def test_binary_2d_mask_is_its_8_connected_pieces(tmp_path):
    one = _read(write_png(tmp_path / "a.png", PIECES * 255), "mask", tmp_path / "out")
    assert one.boxes.lower.tolist() == [[0.5, 0.5], [3.5, 1.5]]
    assert one.boxes.upper.tolist() == [[2.5, 2.5], [4.5, 2.5]]


def _pieces_3d():
    voxels = np.zeros((10, 8, 6), dtype=np.uint8)
    voxels[1:3, 1:3, 1:3] = 1  # 8 voxels
    voxels[3, 3, 3] = 1  # touches by a corner: 26-connected
    voxels[7:9, 5:7, 4] = 1  # 4 voxels: too few to count
    return voxels


def test_binary_3d_mask_is_one_object(tmp_path):
    (one,) = read_label_map(write_nifti(tmp_path / "a.nii.gz", _pieces_3d(), awkward_affine()), "mask")
    np.testing.assert_array_equal(one.label_map, _pieces_3d())
    np.testing.assert_allclose(one.grid.affine, awkward_affine(), atol=1e-6)


def test_lesions_are_26_connected_and_those_below_5_voxels_are_to_be_ignored(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", _pieces_3d(), awkward_affine())
    one = _read(path, "lesions", tmp_path / "out")
    assert one.boxes.lower.tolist() == [[0.5, 0.5, 0.5], [6.5, 4.5, 3.5]]
    assert one.boxes.upper.tolist() == [[3.5, 3.5, 3.5], [8.5, 6.5, 4.5]]
    assert one.ignore == {2}


def test_lesions_without_background_are_one_object(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8), np.eye(4))
    one = _read(path, "lesions", tmp_path / "out")
    assert (one.values.tolist(), one.ignore) == ([1], frozenset())


def test_labels_beyond_a_million_keep_their_values(tmp_path):
    voxels = np.zeros((4, 4, 4), dtype=np.int32)
    voxels[1, 1, 1], voxels[2, 2, 2] = 2_000_000_000, 7
    one = _read(write_nifti(tmp_path / "a.nii", voxels, np.eye(4)), "instances", tmp_path / "out")
    assert one.values.tolist() == [7, 2_000_000_000]
    assert one.boxes.lower.tolist() == [[1.5] * 3, [0.5] * 3]


def test_palette_indices_are_the_labels(tmp_path):
    picture = Image.new("P", (5, 3))
    picture.putdata((PIECES * 2).ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert _read(tmp_path / "a.png", "instances", tmp_path / "out").values.tolist() == [2]


def test_stack_of_a_tiff_is_in_pixels(tmp_path):
    import tifffile

    stack = np.zeros((5, 4, 3), dtype=np.uint16)  # (k, j, i)
    stack[4, 1:3, 2] = 9
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    one = _read(tmp_path / "a.tif", "instances", tmp_path / "out")
    assert (one.grid.shape, one.grid.unit) == ((3, 4, 5), "px")
    assert (one.boxes.lower.tolist(), one.boxes.upper.tolist()) == ([[1.5, 0.5, 3.5]], [[2.5, 2.5, 4.5]])


def test_fractions_negatives_colours_and_jpeg_are_no_labels(tmp_path):
    for values, message in ((0.5, "fractions"), (-1.0, "0 or above, got -1")):
        voxels = np.full((3, 3, 3), values, dtype=np.float32)
        with pytest.raises(AnnotationError, match=message):
            read_label_map(write_nifti(tmp_path / "a.nii", voxels, np.eye(4)), "instances")
    with pytest.raises(AnnotationError, match="one channel, got 3"):
        read_label_map(write_png(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8)), "instances")
    Image.fromarray(PIECES).save(tmp_path / "a.jpg")
    with pytest.raises(AnnotationError, match="JPEG changes values"):
        read_label_map(tmp_path / "a.jpg", "mask")


# --- segmentations of 3D Slicer --------------------------------------------------------------------------------------


def _segmentation(path, layers, segments):
    """``layers`` is ``(layer, i, j, k)``; NRRD's LPS space with spacing 2, 1, 4 and the second axis flipped."""
    header = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([[np.nan] * 3, np.diag([2.0, -1.0, 4.0])]),
        "space origin": [10.0, 20.0, 30.0],
        "kinds": ["list", "domain", "domain", "domain"],
    }
    if len(layers) == 1:
        layers, header["space directions"], header["kinds"] = layers[0], np.diag([2.0, -1.0, 4.0]), ["domain"] * 3
    for number, (name, value, layer) in enumerate(segments):
        header |= {f"Segment{number}_{key}": str(one) for key, one in (("ID", f"S{number}"), ("Name", name))}
        header |= {f"Segment{number}_{key}": str(one) for key, one in (("LabelValue", value), ("Layer", layer))}
    nrrd.write(str(path), layers, header)
    return path


def test_segments_are_objects_with_their_names(tmp_path):
    layer = np.zeros((1, 4, 5, 3), dtype=np.uint8)
    layer[0, 1, 2:4, 1], layer[0, 3, 4, 2] = 5, 2
    path = _segmentation(tmp_path / "a.seg.nrrd", layer, [("tumour", 5, 0), ("Segment_2", 2, 0), ("none", 9, 0)])
    one = _read(path, "instances", tmp_path / "out")
    assert one.values.tolist() == [2, 5]
    assert (one.boxes.lower.tolist(), one.boxes.upper.tolist()) == (
        [[2.5, 3.5, 1.5], [0.5, 1.5, 0.5]],
        [[3.5, 4.5, 2.5], [1.5, 3.5, 1.5]],
    )
    assert one.labels == {5: "tumour", 2: "", 9: "none"}  # Segment_2 is Slicer's default name
    assert one.notes == ("1 of 3 segments are empty",)
    # LPS (10, 20, 30) + 2 i, - j, + 4 k: voxel (1, 2, 1) is LPS (12, 18, 34), RAS (-12, -18, 34).
    np.testing.assert_allclose(one.grid.to_world(np.array([[1.0, 2.0, 1.0]])), [[-12.0, -18.0, 34.0]])


def test_overlapping_segments_are_a_label_map_a_layer(tmp_path):
    layers = np.zeros((2, 4, 5, 3), dtype=np.uint8)
    layers[0, 1:3, 2:4, 1] = 1
    layers[1, 1:4, 2, 1] = 1
    path = _segmentation(tmp_path / "a.seg.nrrd", layers, [("tumour", 1, 0), ("rim", 1, 1)])
    first, second = contents(read_annotations(path, "label-map-instances", tmp_path / "out")).sets
    assert (first.labels, second.labels) == ({1: "tumour"}, {1: "rim"})
    assert (first.boxes.upper.tolist(), second.boxes.upper.tolist()) == ([[2.5, 3.5, 1.5]], [[3.5, 2.5, 1.5]])


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([("a", 1, 0)], "1 values belong to no segment, e.g. 2"),
        ([("a", 1, 0), ("b", 1, 0)], "two segments of one layer have the value 1"),
        ([("a", 1, 3), ("b", 2, 0)], "a segment lies in layer 3, the file has 1"),
        ([("a", "x", 0)], "must be whole numbers"),
    ],
)
def test_segments_that_do_not_hold_are_refused(tmp_path, segments, reason):
    layer = np.zeros((1, 2, 2, 2), dtype=np.uint8)
    layer[0, 0, 0], layer[0, 1, 1] = 1, 2
    with pytest.raises(AnnotationError, match=reason):
        read_label_map(_segmentation(tmp_path / "a.seg.nrrd", layer, segments), "instances")
