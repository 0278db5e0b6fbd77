import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_rtstruct import read_rtstruct
from tests.sources.annotations import written_dicom as written

SQUARE = [10.0, -20.0, 30.0, 14.0, -17.0, 30.0, 14.0, -17.0, 20.0, 10.0, -20.0, 20.0]
ABOVE = [7.6, -16.8, 30.0, 11.6, -13.8, 30.0, 11.6, -13.8, 20.0]


def _read(tmp_path, made):
    return read_rtstruct(written.save(made, tmp_path / "rt.dcm"))


def test_contours_of_a_region_are_one_polygon_in_the_patient(tmp_path):
    region = written.contour_region(1, written.contour(SQUARE), written.contour(ABOVE))
    (one,) = _read(tmp_path, written.structure_set([region], ["GTV 1"]))
    (mark,) = one.marks
    assert (one.frame, mark.kind, mark.label, mark.rings, mark.slab_mm) == ("lps_mm", "polygon", "GTV 1", (4, 3), 0.0)
    np.testing.assert_allclose(mark.points, np.array([*SQUARE, *ABOVE]).reshape(-1, 3))
    assert not one.from_points


def test_stated_slab_is_halved(tmp_path):
    region = written.contour_region(1, written.contour(SQUARE, ContourSlabThickness=4.0))
    (one,) = _read(tmp_path, written.structure_set([region], ["a"]))
    assert one.marks[0].slab_mm == 2.0


def test_points_are_objects_of_their_own_and_lines_are_none(tmp_path):
    first = written.contour_region(1, written.contour(SQUARE), written.contour(SQUARE, "OPEN_PLANAR"))
    second = written.contour_region(2, written.contour([1.0, 2.0, 3.0], "POINT"))
    areas, points = _read(tmp_path, written.structure_set([first, second], ["a", "b", "c"]))
    assert [mark.kind for mark in areas.marks] == ["polygon"]
    assert points.from_points
    assert [(mark.label, mark.points.tolist()) for mark in points.marks] == [("b", [[1.0, 2.0, 3.0]])]
    assert areas.notes == ("1 regions have no contours", "1 contours are lines and no objects")


def test_region_without_name_takes_its_interpreted_type(tmp_path):
    made = written.structure_set([written.contour_region(1, written.contour(SQUARE))], [""])
    observed = Dataset()
    observed.ReferencedROINumber, observed.RTROIInterpretedType = 1, "GTV"
    made.RTROIObservationsSequence = [observed]
    assert _read(tmp_path, made)[0].marks[0].label == "GTV"


def test_reference_holds_listed_images_and_those_that_only_a_contour_names(tmp_path):
    from pipeline.sources.identifiers import uid_digest

    region = written.contour_region(1, written.contour(SQUARE, image="1.2.3.4.1"), written.contour(ABOVE, image="9.9"))
    (one,) = _read(tmp_path, written.structure_set([region], ["a"]))
    assert set(one.reference.instances) == {*map(written.slice_digest, range(3)), uid_digest("9.9")}


def test_series_is_the_reference_where_no_instance_is_named(tmp_path):
    from pipeline.sources.identifiers import uid_digest

    made = written.structure_set([written.contour_region(1, written.contour(SQUARE))], ["a"], images=0)
    assert _read(tmp_path, made)[0].reference.series == uid_digest("1.2.3.4")


def test_structure_set_without_contours_says_that_nothing_is_there(tmp_path):
    (one,) = _read(tmp_path, written.structure_set([], ["a"]))
    assert one.marks == ()


def _unlisted(made):
    del made.ReferencedFrameOfReferenceSequence


def _contour(**elements):
    def spoil(made):
        for keyword, value in elements.items():
            setattr(made.ROIContourSequence[0].ContourSequence[0], keyword, value)

    return spoil


def _stranger(made):
    made.ROIContourSequence[0].ReferencedROINumber = 7


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_contour(ContourData=SQUARE[:-1]), "triplets of numbers, got 11"),
        (_contour(ContourData=None), "triplets of numbers, got 0"),
        (_contour(NumberOfContourPoints=5), "states 5 points, 4 are there"),
        (_contour(ContourGeometricType="BLOB"), "must be one of POINT"),
        (_stranger, "1 regions that are not described"),
        (_unlisted, "its image is unknown"),
    ],
)
def test_contradiction_is_refused_with_the_reason(tmp_path, spoil, reason):
    made = written.structure_set([written.contour_region(1, written.contour(SQUARE))], ["a"])
    spoil(made)
    with pytest.raises(AnnotationError, match=reason):
        _read(tmp_path, made)


@pytest.mark.parametrize("text", [b"10.0\\x\\30.0", b"10.0\\nan\\30.0", b"10.0\\\\30.0"])
def test_coordinate_that_is_no_finite_number_is_refused(tmp_path, text):
    made = written.structure_set([written.contour_region(1, written.contour([1.0, 2.0, 3.25], "POINT"))], ["a"])
    path = written.save(made, tmp_path / "rt.dcm")
    data = path.read_bytes()
    assert data.count(b"1.0\\2.0\\3.25") == 1
    path.write_bytes(data.replace(b"1.0\\2.0\\3.25", text.ljust(12)))
    with pytest.raises(AnnotationError, match=r"numbers|finite"):
        read_rtstruct(path)
