import json

import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras
from pipeline.sources.annotations.formats import format_of
from pipeline.sources.annotations.marks import BESIDE
from pipeline.sources.annotations.place import place
from pipeline.sources.annotations.slicer import read_fcsv, read_markups

# Voxel (i, j, k) lies at LPS (i, 2 j, 4 k) mm.
GRID = Grid((20, 20, 20), affine_lps_to_ras(np.diag([1.0, 2.0, 4.0, 1.0])))


def _points(*positions, label="lesion-{}"):
    return [{"label": label.format(n + 1), "position": list(p)} for n, p in enumerate(positions)]


def _read(path, *markups):
    path.write_text(json.dumps({"@schema": "x", "markups": markups}))
    assert format_of(path) == "slicer-markups"
    (one,) = read_markups(path)
    return one


def _bounds(one):
    boxes = place(one, GRID, {}).annotations.boxes
    return boxes.lower.round(9).tolist(), boxes.upper.round(9).tolist()


def test_points_of_both_coordinate_systems_lie_where_they_say(tmp_path):
    lps = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": _points((4, 6, 8))}
    ras = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": _points((-4, -6, 8), label="F-{}")}
    one = _read(tmp_path / "a.mrk.json", lps, ras)
    annotations = place(one, GRID, {}).annotations
    assert annotations.boxes.centres.tolist() == [[4.0, 3.0, 2.0]] * 2
    assert annotations.labels == ("lesion", "unlabelled")  # F is Slicer's own name for a point
    assert annotations.from_points
    assert one.reference == BESIDE


def test_points_that_were_not_placed_are_none(tmp_path):
    points = [*_points((4, 6, 8)), {"label": "x", "position": [0, 0, 0], "positionStatus": "undefined"}]
    one = _read(tmp_path / "a.mrk.json", {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points})
    assert len(one.marks) == 1


def _region(system, centre, orientation, size):
    return {"type": "ROI", "coordinateSystem": system, "center": centre, "orientation": orientation, "size": size}


def test_region_along_the_axes_is_exact_in_both_systems(tmp_path):
    # LPS x 3 … 5, y 2 … 10, z 0 … 16: indices 3 … 5, 1 … 5, 0 … 4.
    lps = _region("LPS", [4, 6, 8], [1, 0, 0, 0, 1, 0, 0, 0, 1], [2, 8, 16])
    ras = _region("RAS", [-4, -6, 8], [-1, 0, 0, 0, -1, 0, 0, 0, 1], [2, 8, 16])
    for one in (lps, ras):
        assert _bounds(_read(tmp_path / "a.mrk.json", one)) == ([[3.0, 1.0, 0.0]], [[5.0, 5.0, 4.0]])


def test_columns_of_the_orientation_are_the_regions_axes(tmp_path):
    # First axis along LPS (.8, .6, 0), 10 mm; second (-.6, .8, 0), 5 mm; third z, 4 mm.
    one = _read(tmp_path / "a.mrk.json", _region("LPS", [10, 20, 8], [0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1], [10, 5, 4]))
    corners = {tuple(np.round(point, 6)) for point in one.marks[0].points}
    assert (10 + 4 - 1.5, 20 + 3 + 2, 10.0) in corners
    assert (10 + 4 + 1.5, 20 + 3 - 2, 6.0) in corners
    # Half extents 4 + 1.5 along x, 3 + 2 along y.
    assert _bounds(one) == ([[4.5, 7.5, 1.5]], [[15.5, 12.5, 2.5]])


def test_closed_curve_on_a_slice_is_as_thick_as_the_slice(tmp_path):
    curve = {
        "type": "ClosedCurve",
        "coordinateSystem": "LPS",
        "controlPoints": _points((2, 4, 8), (6, 4, 8), (4, 8, 8)),
    }
    one = _read(tmp_path / "a.mrk.json", curve)
    assert _bounds(one) == ([[2.0, 2.0, 1.5]], [[6.0, 4.0, 2.5]])
    assert place(one, GRID, {}).annotations.labels == ("lesion",)


def test_lines_are_told_beside_objects_and_refused_alone(tmp_path):
    line = {"type": "Line", "coordinateSystem": "LPS", "controlPoints": _points((0, 0, 0), (1, 1, 1))}
    points = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": _points((4, 6, 8))}
    assert "1 markups are lines" in _read(tmp_path / "a.mrk.json", line, points).notes[0]
    with pytest.raises(AnnotationError, match="none is an object"):
        _read(tmp_path / "a.mrk.json", line)


@pytest.mark.parametrize(
    ("markup", "reason"),
    [
        ({"type": "Fiducial", "controlPoints": []}, "must be LPS or RAS, got 'None'"),
        ({"type": "Fiducial", "coordinateSystem": "2"}, "must be LPS or RAS, got '2'"),
        ({"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "um"}, "in mm, got 'um'"),
        (_region("LPS", [0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 1, 1], [1, 1, 1]), "three unit vectors"),
        (_region("LPS", [0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 1, 0]), "must be above 0, got 0.0"),
        (_region("LPS", [0, 0], [1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 1, 0]), "3 finite numbers as 'center'"),
        ({"type": "ClosedCurve", "coordinateSystem": "LPS", "controlPoints": _points((0, 0, 0))}, "at least 3 points"),
    ],
)
def test_markup_that_does_not_hold_is_refused(tmp_path, markup, reason):
    with pytest.raises(AnnotationError, match=reason):
        _read(tmp_path / "a.mrk.json", markup)


FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
vtkMRMLMarkupsFiducialNode_0,{},{},8.0,0,0,0,1,1,1,0,lesion-1,,
"""


@pytest.mark.parametrize(("system", "x", "y"), [("LPS", 4, 6), ("1", 4, 6), ("RAS", -4, -6), ("0", -4, -6)])
def test_older_point_lists_name_their_system_in_words_or_numbers(tmp_path, system, x, y):
    (tmp_path / "a.fcsv").write_text(FCSV.format(system, x, y))
    assert format_of(tmp_path / "a.fcsv") == "slicer-fcsv"
    (one,) = read_fcsv(tmp_path / "a.fcsv")
    annotations = place(one, GRID, {}).annotations
    assert annotations.boxes.centres.tolist() == [[4.0, 3.0, 2.0]]
    assert annotations.labels == ("lesion",)


@pytest.mark.parametrize(
    ("text", "reason"), [(FCSV.format("2", 1, 1), "got '2'"), (FCSV.format("LPS", "x", 1), "x, y, z")]
)
def test_point_list_that_does_not_hold_is_refused(tmp_path, text, reason):
    (tmp_path / "a.fcsv").write_text(text)
    with pytest.raises(AnnotationError, match=reason):
        read_fcsv(tmp_path / "a.fcsv")
