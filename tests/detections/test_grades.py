"""Grades in the record of detections and its exports."""

import numpy as np
import pytest

from pipeline.detections import Detections
from pipeline.detections.geojson import to_geojson
from pipeline.detections.table import columns, from_frame, to_frame
from pipeline.errors import ModelError
from pipeline.geometry import Boxes, Grid

GRID = Grid.of_pixels((20, 10))


def graded(scores=(0.4, 0.9, 0.6), grades: tuple[float, ...] | None = (0.1, 0.2, 0.3), name="malignancy") -> Detections:
    boxes = Boxes.around(np.array([[5.0 * n, 2.0] for n in range(len(scores))]).reshape(-1, 2), np.ones(2), GRID)
    values = None if grades is None else np.array(grades)
    return Detections("v", boxes, np.array(scores), np.zeros(len(scores), int), ("cell",), None, values, name)


def test_grades_stay_with_their_detections():
    assert graded().grades.tolist() == [0.2, 0.3, 0.1]
    assert graded().above(0.5).grades.tolist() == [0.2, 0.3]


def test_the_table_names_the_grade_last_and_gives_it_back():
    frame = to_frame(graded())
    assert list(frame.columns) == [*columns(), "grade_malignancy"]
    assert frame["grade_malignancy"].tolist() == [0.2, 0.3, 0.1]
    again = from_frame(frame, "v", GRID, ("cell",))
    assert (again.grades.tolist(), again.grade_name) == ([0.2, 0.3, 0.1], "malignancy")


@pytest.mark.parametrize("count", [0, 2])
def test_a_table_without_grades_is_as_before(count):
    frame = to_frame(graded((0.4, 0.9)[:count], None, ""))
    assert list(frame.columns) == columns()
    again = from_frame(frame, "v", GRID, ("cell",))
    assert (again.grades, again.grade_name) == (None, "")


def test_geojson_measures_what_the_grade_is_called():
    features = to_geojson(graded())["features"]
    assert [one["properties"]["measurements"] for one in features] == [
        {"score": 0.9, "malignancy": 0.2},
        {"score": 0.6, "malignancy": 0.3},
        {"score": 0.4, "malignancy": 0.1},
    ]
    assert to_geojson(graded(grades=None, name=""))["features"][0]["properties"]["measurements"] == {"score": 0.9}


def test_grades_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="come together"):
        graded(name="")
    with pytest.raises(ModelError, match="a grade that is not a number"):
        graded(grades=(0.1, float("nan"), 0.2))
