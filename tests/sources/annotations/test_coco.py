import json

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.sources.annotations.coco import read_coco
from pipeline.sources.annotations.formats import format_of
from pipeline.sources.annotations.marks import Refused
from pipeline.sources.annotations.place import place
from pipeline.sources.annotations.rasters import rasterised
from pipeline.sources.annotations.run_lengths import unpacked

GRID = Grid.of_pixels((6, 4))  # 6 wide, 4 high
IMAGE = {"id": 7, "file_name": "images/a.png", "width": 6, "height": 4}


def _write(path, annotations, images=(IMAGE,), categories=({"id": 2, "name": "tumour"},)):
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def _object(**more):
    return {"id": 1, "image_id": 7, "category_id": 2, **more}


def test_bbox_of_one_pixel_is_that_pixel(tmp_path):
    path = _write(tmp_path / "a.json", [_object(bbox=[2, 3, 1, 1])])
    assert format_of(path) == "coco"
    (one,) = read_coco(path)
    boxes = place(one, GRID, {}).annotations.boxes
    # Column 2, row 3: voxel i covers i - 0.5 … i + 0.5.
    assert (boxes.lower.tolist(), boxes.upper.tolist()) == ([[1.5, 2.5]], [[2.5, 3.5]])
    assert one.reference.file == "images/a.png"
    assert one.shape == (6, 4)


def test_image_without_annotation_is_a_scan_without_finding(tmp_path):
    empty = {"id": "x", "file_name": "b.png"}
    first, second = read_coco(_write(tmp_path / "a.json", [_object(bbox=[0, 0, 2, 2])], [IMAGE, empty]))
    assert [mark.label for mark in first.marks] == ["tumour"]
    assert second.marks == ()


def test_crowd_is_to_be_ignored(tmp_path):
    (one,) = read_coco(_write(tmp_path / "a.json", [_object(bbox=[0, 0, 2, 2], iscrowd=1)]))
    assert [mark.ignore for mark in one.marks] == [True]


def test_polygons_of_one_object_are_its_outline(tmp_path):
    pieces = [[0, 0, 2, 0, 2, 1], [4, 2, 6, 2, 6, 4, 4, 4]]
    (one,) = read_coco(_write(tmp_path / "a.json", [_object(bbox=[0, 0, 6, 4], segmentation=pieces)]))
    (mark,) = one.marks
    assert (mark.kind, mark.rings, one.notes) == ("polygon", (3, 4), ())
    boxes = place(one, GRID, {}).annotations.boxes
    assert (boxes.lower.tolist(), boxes.upper.tolist()) == ([[-0.5, -0.5]], [[5.5, 3.5]])


# (row, column): an object over two columns with a hole of background between, and single pixels at the corners.
MASK = np.array([[1, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 1, 1, 0, 1]], dtype=np.uint8)
# Down the columns: 1 0 0 0 | 0 0 0 0 | 0 1 0 1 | 0 1 1 1 | 0 0 0 0 | 1 0 0 1, counts starting with background.
COUNTS = [0, 1, 8, 1, 1, 1, 1, 3, 4, 1, 2, 1]


def test_run_lengths_cover_exactly_the_pixels_of_their_mask(tmp_path):
    mask = {"size": [4, 6], "counts": COUNTS}
    (one,) = read_coco(_write(tmp_path / "a.json", [_object(segmentation=mask)]))
    label_map, _ = rasterised(one, GRID, {})
    np.testing.assert_array_equal(label_map, MASK.T)
    boxes = place(one, GRID, {}).annotations.boxes
    assert (boxes.lower.tolist(), boxes.upper.tolist()) == ([[-0.5, -0.5]], [[5.5, 3.5]])


def _packed(counts):
    """The text form after its description (maskApi.h), written independently of the reader."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != -1 if group & 16 else value != 0
            text += chr((group | 32 if more else group) + 48)
    return text


def test_packed_run_lengths_are_those_of_the_list():
    assert unpacked("52203") == [5, 2, 2, 2, 5]  # the 4th adds 0 to the 2nd, the 5th 3 to the 3rd
    for counts in ([5, 2, 2, 0, 5], COUNTS, [0, 1000, 3, 40, 100_000, 1, 7]):
        assert unpacked(_packed(counts)) == counts


def test_packed_mask_gives_the_same_outline_as_the_listed_one(tmp_path):
    listed, packed = (
        read_coco(_write(tmp_path / "a.json", [_object(segmentation={"size": [4, 6], "counts": counts})]))[0].marks[0]
        for counts in (COUNTS, _packed(COUNTS))
    )
    np.testing.assert_array_equal(listed.points, packed.points)


def test_run_over_whole_columns_is_one_rectangle_between_the_rests(tmp_path):
    # 4 high: run from (0, 2) to (3, 1): 2 pixels of column 0, columns 1 and 2, 1 pixel of column 3.
    mask = {"size": [4, 6], "counts": [2, 11, 11]}
    (one,) = read_coco(_write(tmp_path / "a.json", [_object(segmentation=mask)]))
    assert one.marks[0].rings == (4, 4, 4)
    label_map, _ = rasterised(one, GRID, {})
    assert label_map.sum() == 11
    assert label_map[0].tolist() == [0, 0, 1, 1]
    assert label_map[3].tolist() == [1, 0, 0, 0]


def test_bbox_that_is_not_its_segmentation_is_told(tmp_path):
    ring = [[0, 0, 2, 0, 2, 2, 0, 2]]
    (one,) = read_coco(_write(tmp_path / "a.json", [_object(bbox=[0, 0, 5, 2], segmentation=ring)]))
    assert one.notes == ("1 objects: bbox and segmentation are 3.0 px apart, taken as segmented",)
    assert place(one, GRID, {}).annotations.boxes.upper.tolist() == [[1.5, 1.5]]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"bbox": [0, 0, 0, 1]}, "width and height above 0"),
        ({"bbox": [0, 0, 1]}, "expected 4 finite numbers as 'bbox'"),
        ({"bbox": [0, 0, 1, float("nan")]}, "expected 4 finite numbers as 'bbox'"),
        ({}, "neither bbox nor segmentation"),
        ({"bbox": [0, 0, 1, 1], "category_id": 3}, "category that is not listed"),
        ({"segmentation": [[0, 0, 1, 1]]}, "at least 3 points"),
        ({"segmentation": {"size": [4, 6], "counts": [3, 2]}}, "sum up to 5, its 6 x 4 pixels differ"),
        ({"segmentation": {"size": [6, 4], "counts": [24]}}, "a mask has 4 x 6 pixels, its image 6 x 4"),
        ({"segmentation": {"size": [4, 6], "counts": "o"}}, "ends within a count"),
        ({"segmentation": {"size": [4, 6], "counts": "~~"}}, "characters that are none of its"),
        ({"segmentation": {"size": [4, 6], "counts": [24]}}, "a mask has no pixel"),
        ({"segmentation": {"size": [100000, 100000], "counts": [1]}}, "cannot be read"),
    ],
)
def test_object_that_does_not_hold_refuses_its_image_and_no_other(tmp_path, more, reason):
    other = {"id": 8, "file_name": "b.png"}
    first, second = read_coco(_write(tmp_path / "a.json", [_object(**more)], [IMAGE, other]))
    assert isinstance(first, Refused)
    assert reason in first.reason
    assert second.marks == ()


def test_annotations_of_an_image_that_is_not_listed_are_told(tmp_path):
    lost = _object(bbox=[0, 0, 1, 1]) | {"image_id": 9}
    _, refused = read_coco(_write(tmp_path / "a.json", [lost, lost]))
    assert refused == Refused("2 annotations are of an image that is not listed")


def test_two_images_of_one_id_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="1 images share the id of another"):
        read_coco(_write(tmp_path / "a.json", [], [IMAGE, IMAGE]))
