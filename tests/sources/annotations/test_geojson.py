import json

import numpy as np
import pytest

from pipeline.detections import Detections
from pipeline.detections.geojson import to_geojson
from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.formats import format_of
from pipeline.sources.annotations.geojson import read_geojson
from pipeline.sources.annotations.marks import BESIDE
from pipeline.sources.annotations.place import place
from tests.phantoms import awkward_grid

GRID = Grid.of_pixels((30, 20))


def _feature(kind, coordinates, name=None, **geometry):
    properties = {"objectType": "annotation"}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    geometry = {"type": kind, "coordinates": coordinates, **geometry}
    return {"type": "Feature", "id": "x", "geometry": geometry, "properties": properties}


def _read(path, document):
    path.write_text(json.dumps(document))
    assert format_of(path) == "geojson"
    (one,) = read_geojson(path)
    return one


def _square(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def test_rectangle_of_one_pixel_is_that_pixel(tmp_path):
    one = _read(tmp_path / "a.geojson", [_feature("Polygon", [_square(5, 2, 6, 3)], "Tumour")])
    annotations = place(one, GRID, {}).annotations
    assert (annotations.boxes.lower.tolist(), annotations.boxes.upper.tolist()) == ([[4.5, 1.5]], [[5.5, 2.5]])
    assert annotations.labels == ("Tumour",)
    assert one.reference == BESIDE


def test_areas_of_every_kind_have_the_bounds_of_all_their_rings(tmp_path):
    hole = [_square(0, 0, 10, 10), _square(2, 2, 4, 4)]
    several = [[_square(0, 0, 1, 1)], [_square(20, 10, 30, 20), _square(22, 12, 23, 13)]]
    collected = {
        "type": "GeometryCollection",
        "geometries": [{"type": "Polygon", "coordinates": [_square(1, 1, 2, 3)]}],
    }
    features = [
        _feature("Polygon", hole),
        _feature("MultiPolygon", several),
        {"type": "Feature", "geometry": collected, "properties": None},
        _feature("Polygon", [_square(3, 4, 9, 6)], isEllipse=True),
    ]
    one = _read(tmp_path / "a.json", {"type": "FeatureCollection", "features": features})
    boxes = place(one, GRID, {}).annotations.boxes
    assert (boxes.lower + 0.5).tolist() == [[0, 0], [0, 0], [1, 1], [3, 4]]
    assert (boxes.upper + 0.5).tolist() == [[10, 10], [30, 20], [2, 3], [9, 6]]
    assert [mark.rings for mark in one.marks] == [(5, 5), (5, 5, 5), (5,), (5,)]


def test_points_are_one_object_each_and_lines_are_none(tmp_path):
    features = [
        _feature("MultiPoint", [[1, 2], [3, 4]], "cell"),
        _feature("Point", [5.5, 6.5]),
        _feature("LineString", [[0, 0], [1, 1]]),
    ]
    one = _read(tmp_path / "a.geojson", features)
    annotations = place(one, GRID, {}).annotations
    assert annotations.boxes.centres.tolist() == [[0.5, 1.5], [2.5, 3.5], [5.0, 6.0]]
    assert annotations.labels == ("cell", "cell", "unlabelled")
    assert annotations.from_points
    assert one.notes == ("1 features are lines or tiles and no objects",)


def test_class_with_a_star_is_ignored_and_classes_may_have_several_names(tmp_path):
    several = _feature("Point", [1, 1])
    several["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    one = _read(tmp_path / "a.geojson", [_feature("Point", [1, 1], "Ignore*"), several])
    assert [(mark.label, mark.ignore) for mark in one.marks] == [("Ignore", True), ("Tumor: Positive", False)]


def test_object_on_a_plane_of_a_stack_is_as_thick_as_its_slice(tmp_path):
    # QuPath writes no plane for the first one.
    features = [_feature("Polygon", [_square(5, 2, 6, 3)], plane={"c": -1, "z": 4, "t": 0}), _feature("Point", [5, 2])]
    boxes = place(_read(tmp_path / "a.geojson", features), awkward_grid((40, 24, 16)), {}).annotations.boxes
    assert (boxes.lower[0].tolist(), boxes.upper[0].tolist()) == ([4.5, 1.5, 3.5], [5.5, 2.5, 4.5])
    assert boxes.centres[1].tolist() == [4.5, 1.5, 0.0]


def test_first_plane_alone_is_a_picture(tmp_path):
    one = _read(tmp_path / "a.geojson", [_feature("Polygon", [_square(5, 2, 6, 3)], plane={"c": 0, "z": 0, "t": 0})])
    assert one.marks[0].points.shape == (5, 2)


@pytest.mark.parametrize("grid", [GRID, awkward_grid((40, 24, 16))], ids=["2D", "3D"])
def test_own_export_of_detections_comes_back_as_the_same_boxes(tmp_path, grid):
    rng = np.random.default_rng(3)
    lower = rng.uniform(-0.5, 10, (7, grid.dims))
    boxes = Boxes(lower, lower + rng.uniform(0.3, 6, lower.shape), grid)
    detections = Detections("3f2a91c0", boxes, rng.random(7), np.arange(7) % 2, ("tumour", "other"))
    one = _read(tmp_path / "a.geojson", to_geojson(detections))
    annotations = place(one, grid, {}).annotations
    np.testing.assert_allclose(annotations.boxes.lower, detections.boxes.lower, atol=1e-12)
    np.testing.assert_allclose(annotations.boxes.upper, detections.boxes.upper, atol=1e-12)
    assert annotations.labels == detections.label_names
    assert one.reference.file == "3f2a91c0"


def test_export_of_no_detection_is_no_finding(tmp_path):
    none = Detections("3f2a91c0", Boxes.empty(GRID), np.zeros(0), np.zeros(0, int), ("tumour",))
    assert _read(tmp_path / "a.geojson", to_geojson(none)).marks == ()


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (_feature("Circle", [1, 2]), "a geometry must be one of"),
        (_feature("Polygon", []), "an area has no points"),
        (_feature("Polygon", [[["a", 2]]]), "expected 2 finite numbers"),
        (_feature("Polygon", [[1, 2]]), r"lists of \[x, y\]"),
        (_feature("Point", [1, 2], plane={"z": 0, "t": 3}), "several times"),
    ],
)
def test_geometry_that_does_not_hold_is_refused(tmp_path, feature, reason):
    with pytest.raises(AnnotationError, match=reason):
        _read(tmp_path / "a.geojson", [feature])
