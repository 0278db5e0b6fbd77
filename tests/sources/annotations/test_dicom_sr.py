import numpy as np
import pytest
from pydicom.sr.codedict import codes

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_planes import resolved
from pipeline.sources.annotations.dicom_sr import read_sr
from pipeline.sources.identifiers import uid_digest
from tests.sources.annotations import written_dicom as written
from tests.sources.written import SECONDARY_CAPTURE, dataset

hd = pytest.importorskip("highdicom")
SQUARE = np.array([[2.0, 1.0], [4.0, 1.0], [4.0, 3.0], [2.0, 3.0], [2.0, 1.0]])


def _read(tmp_path, groups, evidence):
    return read_sr(written.save(written.report(groups, evidence), tmp_path / "sr.dcm"))


def _planar(region, finding=codes.SCT.Nodule):
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        written.tracking(), referenced_region=region, finding_type=finding
    )


def _source(image):
    return hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID)


def _on(image, kind=hd.sr.GraphicTypeValues.POLYLINE, points=SQUARE, **options):
    return hd.sr.ImageRegion(kind, points, _source(image), **options)


def _picture():
    return dataset(
        np.zeros((8, 12), np.uint8),
        SECONDARY_CAPTURE,
        SOPInstanceUID="1.2.3.7",
        StudyDate="20200101",
        StudyTime="120000",
        AccessionNumber="",
        StudyID="1",
        PatientBirthDate="",
        PatientSex="O",
        ReferringPhysicianName="",
    )


def test_region_on_a_slice_is_where_its_pixels_lie(tmp_path):
    sources = written.source_slices(3)
    (one,) = _read(tmp_path, [_planar(_on(sources[1]))], sources)
    assert (one.frame, one.reference.instances, one.reference.frames) == ("frame_px", (written.slice_digest(1),), (1,))
    assert [(mark.label, mark.kind) for mark in one.marks] == [("Nodule", "polygon")]
    files = {written.slice_digest(1): written.save(sources[1], tmp_path / "1.dcm")}
    # First corner: 2 - 0.5 columns of 0.5 mm and 1 - 0.5 rows of 2 mm from the first centre of slice 1.
    first = np.array([10, -20, 30]) + 0.75 * np.array([0.8, 0.6, 0]) + [0, 0, -1] + 4 * np.array([-0.6, 0.8, 0])
    np.testing.assert_allclose(resolved(one, files).marks[0].points[0], first, atol=1e-6)


def test_contours_on_several_slices_are_one_object(tmp_path):
    sources = written.source_slices(4)
    surfaces = [_on(sources[k]) for k in (1, 2, 3)]
    volumetric = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        written.tracking(), referenced_regions=surfaces, finding_type=codes.SCT.Neoplasm
    )
    (one,) = _read(tmp_path, [volumetric], sources)
    assert one.reference.instances == tuple(written.slice_digest(k) for k in (1, 2, 3))
    (mark,) = one.marks
    assert (mark.label, mark.rings) == (codes.SCT.Neoplasm.meaning, (5, 5, 5))
    assert mark.points[:, 2].tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_region_on_a_picture_counts_pixels_from_its_edge(tmp_path):
    picture = _picture()
    circle = np.array([[5.0, 4.0], [5.0, 6.0]])
    ellipse = np.array([[2.0, 2.0], [8.0, 2.0], [5.0, 1.0], [5.0, 3.0]])
    groups = [
        _planar(_on(picture)),
        _planar(_on(picture, hd.sr.GraphicTypeValues.CIRCLE, circle)),
        _planar(_on(picture, hd.sr.GraphicTypeValues.ELLIPSE, ellipse)),
    ]
    (one,) = _read(tmp_path, groups, [picture])
    assert (one.frame, one.reference.instances) == ("edge_px", (uid_digest("1.2.3.7"),))
    bounds = [(mark.points.min(axis=0).tolist(), mark.points.max(axis=0).tolist()) for mark in one.marks]
    assert bounds == [([2, 1], [4, 3]), ([3, 2], [7, 6]), ([2, 1], [8, 3])]


def test_points_come_in_a_set_of_their_own(tmp_path):
    picture = _picture()
    made = written.report([_planar(_on(picture)), _planar(_on(picture))], [picture])
    second = _regions(made, [])[1]
    second.GraphicType, second.GraphicData = "MULTIPOINT", [1.0, 2.0, 3.0, 4.0]
    areas, dots = read_sr(written.save(made, tmp_path / "sr.dcm"))
    assert (len(areas.marks), areas.from_points) == (1, False)
    assert dots.from_points
    assert [mark.points.tolist() for mark in dots.marks] == [[[1, 2]], [[3, 4]]]


def test_region_in_space_is_in_the_patient_and_refers_to_the_evidence(tmp_path):
    sources = written.source_slices(2)
    polygon = np.array([[1.0, 2.0, 3.0], [4.0, 2.0, 3.0], [4.0, 6.0, 3.0], [1.0, 2.0, 3.0]])
    region = hd.sr.ImageRegion3D(hd.sr.GraphicTypeValues3D.POLYGON, polygon, "1.2.9")
    (one,) = _read(tmp_path, [_planar(region)], sources)
    assert one.frame == "lps_mm"
    assert set(one.reference.instances) == {written.slice_digest(0), written.slice_digest(1)}
    np.testing.assert_allclose(one.marks[0].points, polygon)


def test_region_in_space_on_a_slide_is_on_the_slide(tmp_path):
    polygon = np.array([[1.0, 2.0, 0.0], [4.0, 2.0, 0.0], [4.0, 6.0, 0.0], [1.0, 2.0, 0.0]])
    region = hd.sr.ImageRegion3D(hd.sr.GraphicTypeValues3D.POLYGON, polygon, "1.2.9")
    (one,) = _read(tmp_path, [_planar(region)], [written.slide()])
    assert (one.frame, one.reference.instances) == ("slide_mm", (uid_digest("1.2.3.6.1"),))


def test_region_of_a_whole_slide_and_of_one_tile_differ(tmp_path):
    slide = written.slide()
    (whole,) = _read(tmp_path, [_planar(_on(slide, pixel_origin_interpretation="VOLUME"))], [slide])
    assert (whole.frame, whole.marks[0].points.tolist()) == ("edge_px", SQUARE.tolist())
    source = hd.sr.SourceImageForRegion(slide.SOPClassUID, slide.SOPInstanceUID, [8])
    region = hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, SQUARE, source, pixel_origin_interpretation="FRAME")
    (tile,) = _read(tmp_path, [_planar(region)], [slide])
    assert (tile.frame, tile.reference.frames) == ("frame_px", (8,))


def test_ellipse_in_space_reaches_as_far_as_its_axes(tmp_path):
    ends = np.array([[-5.0, 0, 7], [5, 0, 7], [0, -2, 7], [0, 2, 7]])
    region = hd.sr.ImageRegion3D(hd.sr.GraphicTypeValues3D.ELLIPSE, ends, "1.2.9")
    (one,) = _read(tmp_path, [_planar(region)], written.source_slices(1))
    np.testing.assert_allclose(one.marks[0].points.min(axis=0), [-5, -2, 7], atol=1e-6)
    np.testing.assert_allclose(one.marks[0].points.max(axis=0), [5, 2, 7], atol=1e-6)


def test_report_without_regions_has_nothing_to_take(tmp_path):
    sources = written.source_slices(1)
    group = hd.sr.MeasurementsAndQualitativeEvaluations(written.tracking(), finding_type=codes.SCT.Nodule)
    assert _read(tmp_path, [group], sources) == []


def _regions(made, found):
    for item in made.get("ContentSequence", ()):
        found += [item] if item.ValueType == "SCOORD" else []
        _regions(item, found)
    return found


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("GraphicData", [1.0, 2.0, 3.0], "groups of 2 numbers, got 3"),
        ("GraphicData", [1.0, float("nan")], "finite"),
        ("GraphicType", "CIRCLE", "a CIRCLE must have 2 points, got 5"),
        ("GraphicType", "BLOB", "none that DICOM defines"),
        ("ContentSequence", [], "on which image"),
    ],
)
def test_contradiction_is_refused_with_the_reason(tmp_path, keyword, value, reason):
    picture = _picture()
    made = written.report([_planar(_on(picture))], [picture])
    (region,) = _regions(made, [])
    setattr(region, keyword, value)
    with pytest.raises(AnnotationError, match=reason):
        read_sr(written.save(made, tmp_path / "sr.dcm"))
