import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras
from pipeline.sources.annotations.formats import format_of
from pipeline.sources.annotations.marks import Refused
from pipeline.sources.annotations.place import place
from pipeline.sources.annotations.points_csv import read_centres, read_luna16
from pipeline.sources.identifiers import uid_digest

GRID = Grid(
    (100, 100, 50), affine_lps_to_ras(np.array([[0.5, 0, 0, -20], [0, 0.5, 0, -30], [0, 0, 2, 10], [0, 0, 0, 1]]))
)


def test_nodules_are_spheres_in_lps(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,-10,-25.0,30.0,4.0\n1.2.4,0,0,20,5\n1.2.3,0,0,20,5\n"
    )
    assert format_of(path) == "luna16"
    first, second = read_luna16(path)
    assert (first.reference.series, second.reference.series) == (uid_digest("1.2.3"), uid_digest("1.2.4"))
    annotations = place(first, GRID, {}).annotations
    # (10, 5, 20) mm from the first voxel: index (20, 10, 10); 4 mm are 8, 8 and 2 voxels.
    assert (annotations.boxes.lower[0].tolist(), annotations.boxes.upper[0].tolist()) == ([16, 6, 9], [24, 14, 11])
    assert annotations.labels == ("nodule", "nodule")
    assert not annotations.from_points


def test_candidates_of_class_0_are_no_objects(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("seriesuid,coordX,coordY,coordZ,class\n1.2.3,0,0,20,0\n1.2.3,-10,-25,30,1\n1.2.4,0,0,20,0\n")
    first, second = read_luna16(path)
    assert [(mark.label, mark.kind) for mark in first.marks] == [("nodule", "point")]
    assert first.notes == ("1 candidates of class 0 are no objects",)
    assert first.from_points
    assert second.marks == ()


def test_class_in_words_is_the_class(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm,class\n1.2.3,0,0,20,5,ground glass\n")
    assert read_luna16(path)[0].marks[0].label == "ground glass"


def test_row_that_does_not_hold_refuses_its_series_and_no_other(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,x,0,20,5\n1.2.4,0,0,20,5\n1.2.5,0,0,20,0\n,0,0,20,5\n"
    )
    first, second, third, fourth = read_luna16(path)
    assert first == Refused("expected 3 finite numbers as 'coordX, coordY, coordZ'")
    assert len(second.marks) == 1
    assert third == Refused("every diameter must be finite and above 0, got 0.0")
    assert isinstance(fourth, Refused)


def test_line_with_too_few_columns_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("image_id,x_px,y_px,label\na,1,2,x\na,1,2\n")
    with pytest.raises(AnnotationError, match=r"line 3 has another number of columns than the header \(4\)"):
        read_centres(tmp_path / "a.csv")


def test_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"image_id,x_px,y_px,label\n\xff\xfe,1,2,x\n")
    with pytest.raises(AnnotationError, match="not UTF-8"):
        read_centres(tmp_path / "a.csv")
