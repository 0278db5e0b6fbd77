import json
import uuid

import numpy as np
import pytest

from pipeline.detections import Detections
from pipeline.detections.geojson import to_geojson, write_geojson
from pipeline.geometry import Boxes, Grid


def detections(boxes: Boxes, scores: list[float], labels: list[int]) -> Detections:
    return Detections("3f2a91c0", boxes, np.array(scores, float), np.array(labels, int), ("tumour", "other"))


def test_a_one_pixel_box_spans_its_pixel_in_qupath_coordinates():
    grid = Grid.of_pixels((20, 10))
    boxes = Boxes.around(np.array([[5.0, 2.0]]), np.ones((1, 2)), grid)
    (feature,) = to_geojson(detections(boxes, [0.75], [1]))["features"]
    assert feature["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[5.0, 2.0], [6.0, 2.0], [6.0, 3.0], [5.0, 3.0], [5.0, 2.0]]],
    }
    assert feature["properties"]["objectType"] == "detection"
    assert feature["properties"]["classification"]["name"] == "other"
    assert feature["properties"]["measurements"] == {"score": 0.75}


def test_a_3d_detection_lies_on_its_middle_slice_and_names_those_it_touches():
    grid = Grid((20, 10, 9), np.eye(4))
    boxes = Boxes(np.array([[1.5, 1.5, 2.5]]), np.array([[3.5, 3.5, 5.5]]), grid)  # slices 3, 4, 5
    (feature,) = to_geojson(detections(boxes, [0.5], [0]))["features"]
    assert feature["geometry"]["plane"] == {"c": -1, "z": 4, "t": 0}
    assert feature["properties"]["measurements"] == {"score": 0.5, "first slice": 3.0, "last slice": 5.0}


def test_no_detection_gives_an_empty_collection():
    document = to_geojson(detections(Boxes.empty(Grid.of_pixels((4, 4))), [], []))
    assert document == {"type": "FeatureCollection", "volume_id": "3f2a91c0", "features": []}


def test_features_are_json_and_keep_their_ids():
    boxes = Boxes.around(np.array([[5.0, 2.0], [5.0, 2.0]]), np.ones((2, 2)), Grid.of_pixels((20, 10)))
    first, again = (to_geojson(detections(boxes, [0.5, 0.9], [0, 1])) for _ in range(2))
    assert json.loads(json.dumps(first)) == again
    ids = [feature["id"] for feature in first["features"]]
    assert len({uuid.UUID(one) for one in ids}) == 2
    assert [feature["properties"]["measurements"]["score"] for feature in first["features"]] == [0.9, 0.5]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_file_is_the_document(tmp_path, count):
    grid = Grid.of_pixels((40, 40))
    boxes = Boxes.around(np.array([[5.0, 5.0], [9.0, 30.0], [20.5, 3.25]])[:count], np.array([4.0, 4.0]), grid)
    found = detections(boxes, [0.9, 0.5, 0.25][:count], [0, 1, 0][:count])
    write_geojson(tmp_path / "a.geojson", found)
    assert (tmp_path / "a.geojson").read_text() == json.dumps(to_geojson(found))
