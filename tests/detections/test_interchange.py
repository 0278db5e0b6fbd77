import json

import numpy as np
import pytest

from pipeline.detections import Detections
from pipeline.detections.coco import to_coco
from pipeline.detections.markups import to_markups
from pipeline.errors import SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.place import place
from pipeline.sources.annotations.slicer import read_markups
from tests.phantoms import field_of_cells, rotation_about_z


def detections(boxes: Boxes) -> Detections:
    scores = np.linspace(0.9, 0.6, len(boxes))
    return Detections("3f2a91c0", boxes, scores, np.arange(len(boxes)) % 2, ("nodule", "other"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_slicer_regions_of_an_oblique_volume_come_back_as_the_same_boxes(tmp_path, mirrored):
    affine = np.eye(4)
    affine[:3, :3] = rotation_about_z(30.0)[:3, :3] * (0.5, 2.0, -4.0 if mirrored else 4.0)
    affine[:3, 3] = (10.0, -20.0, 30.0)
    grid = Grid((20, 16, 9), affine)
    boxes = Boxes(np.array([[4.5, 2.5, 1.5], [1.25, 3.0, 4.2]]), np.array([[5.5, 3.5, 2.5], [9.0, 7.5, 6.9]]), grid)
    path = tmp_path / "one.mrk.json"
    path.write_bytes(to_markups(detections(boxes)))
    (marks,) = read_markups(path)
    back = place(marks, grid, {}).annotations
    np.testing.assert_allclose(back.boxes.lower, boxes.lower, atol=1e-9)
    np.testing.assert_allclose(back.boxes.upper, boxes.upper, atol=1e-9)
    assert back.labels == ("nodule", "other")


def test_a_2d_picture_has_no_place_in_slicer():
    grid = Grid.of_pixels((20, 10))
    with pytest.raises(SourceError, match="2D picture"):
        to_markups(detections(Boxes.around(np.array([[5.0, 2.0]]), np.ones((1, 2)), grid)))


def test_coco_counts_from_the_edge_of_the_first_pixel(tmp_path):
    volume = field_of_cells(tmp_path, 0)
    found = detections(Boxes.around(np.array([[5.0, 2.0], [8.0, 4.0]]), np.array([[1.0, 3.0]] * 2), volume.grid))
    document = json.loads(json.dumps(to_coco([(volume, found)], found.classes)))
    assert document["images"][0]["file_name"] == volume.volume_id
    assert [one["bbox"] for one in document["annotations"]] == [[5.0, 1.0, 1.0, 3.0], [8.0, 3.0, 1.0, 3.0]]
    assert [one["score"] for one in document["annotations"]] == [0.9, 0.6]
    assert [one["category_id"] for one in document["annotations"]] == [1, 2]
    assert [one["name"] for one in document["categories"]] == ["nodule", "other"]
