import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_bulk import read_bulk
from pipeline.sources.identifiers import uid_digest
from tests.sources.annotations import written_dicom as written

TRIANGLE = np.array([[1.0, 2.0], [3.5, 2.0], [2.0, 5.25]])
BOWL = np.array([[10.0, 10.0], [20.0, 12.0], [20.0, 22.0], [9.0, 21.0]])


def _read(tmp_path, made):
    return read_bulk(written.save(made, tmp_path / "bulk.dcm"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_polygons_keep_their_vertices(tmp_path, dtype):
    shapes = {"POLYGON": [TRIANGLE.astype(dtype), BOWL.astype(dtype)]}
    (one,) = _read(tmp_path, written.bulk(written.slide(), shapes))
    assert (one.frame, one.from_points, one.reference.instances) == ("edge_px", False, (uid_digest("1.2.3.6.1"),))
    assert [mark.points.tolist() for mark in one.marks] == [TRIANGLE.tolist(), BOWL.tolist()]
    assert {mark.label for mark in one.marks} == {"group polygon"}


def test_points_are_apart_from_areas_and_lines_are_none(tmp_path):
    shapes = {
        "POINT": [np.array([[4.0, 5.0]], np.float32), np.array([[6.0, 7.0]], np.float32)],
        "RECTANGLE": [np.array([[1, 1], [4, 1], [4, 3], [1, 3]], np.float32)],
        "POLYLINE": [TRIANGLE.astype(np.float32)],
    }
    areas, points = _read(tmp_path, written.bulk(written.slide(), shapes))
    assert [mark.points.tolist() for mark in areas.marks] == [[[1, 1], [4, 1], [4, 3], [1, 3]]]
    assert points.from_points
    assert [mark.points.tolist() for mark in points.marks] == [[[4, 5]], [[6, 7]]]
    assert areas.notes == ("1 annotations are lines and no objects",)


def test_ellipse_has_its_exact_bounds_though_it_is_turned(tmp_path):
    # Half axes (3, 4) and (-2, 1.5): bounds sqrt(9 + 4) and sqrt(16 + 2.25) about (10, 20).
    ends = np.array([[7, 16], [13, 24], [12, 18.5], [8, 21.5]])
    (one,) = _read(tmp_path, written.bulk(written.slide(), {"ELLIPSE": [ends]}))
    (mark,) = one.marks
    np.testing.assert_allclose(mark.points.max(axis=0), [10 + 13**0.5, 20 + 18.25**0.5])
    np.testing.assert_allclose(mark.points.min(axis=0), [10 - 13**0.5, 20 - 18.25**0.5])


@pytest.mark.parametrize("heights", [(0.0, 0.0), (0.0, 0.001)])
def test_millimetres_on_the_slide_have_three_coordinates_with_and_without_common_z(tmp_path, heights):
    shapes = [np.column_stack([TRIANGLE, np.full(3, z)]) for z in heights]
    (one,) = _read(tmp_path, written.bulk(written.slide(), {"POLYGON": shapes}, "3D"))
    assert one.frame == "slide_mm"
    np.testing.assert_allclose([mark.points for mark in one.marks], shapes)


def test_coordinates_of_one_frame_name_it(tmp_path):
    made = written.bulk(written.slide(), {"POLYGON": [TRIANGLE]})
    made.PixelOriginInterpretation = "FRAME"
    made.ReferencedImageSequence[0].ReferencedFrameNumber = 8
    (one,) = _read(tmp_path, made)
    assert (one.frame, one.reference.frames) == ("frame_px", (8,))
    np.testing.assert_allclose(one.marks[0].points, np.column_stack([TRIANGLE, np.zeros(3)]))


def test_label_is_the_property_where_the_group_has_none(tmp_path):
    made = written.bulk(written.slide(), {"POLYGON": [TRIANGLE]})
    made.AnnotationGroupSequence[0].AnnotationGroupLabel = ""
    (one,) = _read(tmp_path, made)
    assert one.marks[0].label == made.AnnotationGroupSequence[0].AnnotationPropertyTypeCodeSequence[0].CodeMeaning


def test_no_group_means_looked_at_and_nothing_found(tmp_path):
    made = written.bulk(written.slide(), {"POLYGON": [TRIANGLE]})
    made.AnnotationGroupSequence = []
    (one,) = _read(tmp_path, made)
    assert one.marks == ()


def _group(**elements):
    def spoil(made):
        for keyword, value in elements.items():
            setattr(made.AnnotationGroupSequence[0], keyword, value)

    return spoil


def _index(*values):
    return np.array(values, np.uint32).tobytes()


def _set(keyword, value):
    return lambda made: setattr(made, keyword, value)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_group(LongPrimitivePointIndexList=_index(1, 15)), "lie within 14 numbers"),
        (_group(LongPrimitivePointIndexList=_index(1, 2**32 - 1)), "lie within 14 numbers"),
        (_group(LongPrimitivePointIndexList=_index(1, 6)), "start points"),
        (_group(LongPrimitivePointIndexList=_index(7, 1)), "must start at 1"),
        (_group(LongPrimitivePointIndexList=_index(1, 1)), "must grow"),
        (_group(LongPrimitivePointIndexList=_index(1, 13)), "at least 3 points, got 1"),
        (_group(LongPrimitivePointIndexList=b""), "must start at 1"),
        (_group(NumberOfAnnotations=3), "states 3 annotations, 2 are there"),
        (_group(GraphicType="BLOB"), "none that DICOM defines"),
        (_group(GraphicType="RECTANGLE"), "7 points make no whole number"),
        (_group(DoublePointCoordinatesData=bytes(7 * 16 - 8)), "groups of 2, got 13"),
        (_group(DoublePointCoordinatesData=bytes(7 * 16 - 2)), "do not hold whole numbers"),
        (_group(DoublePointCoordinatesData=np.full(14, np.nan).tobytes()), "finite"),
        (_set("AnnotationCoordinateType", "4D"), "must be 2D or 3D"),
        (_set("PixelOriginInterpretation", ""), "VOLUME or FRAME"),
        (_set("ReferencedImageSequence", []), "one image that they lie on, got 0"),
    ],
)
def test_contradiction_is_refused_with_the_reason(tmp_path, spoil, reason):
    made = written.bulk(written.slide(), {"POLYGON": [TRIANGLE, BOWL]})
    spoil(made)
    with pytest.raises(AnnotationError, match=reason):
        _read(tmp_path, made)
