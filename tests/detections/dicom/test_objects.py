import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from pipeline.detections.dicom.annotations import bulk_annotations
from pipeline.detections.dicom.places import slice_images
from pipeline.detections.dicom.report import report
from pipeline.detections.dicom.segmentation import segmentation
from pipeline.detections.outlines import filled
from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sample.dicom import Subject, write_microscopy
from pipeline.sources.annotations.dicom_bulk import read_bulk
from pipeline.sources.annotations.dicom_planes import resolved
from pipeline.sources.annotations.dicom_seg import read_seg
from pipeline.sources.annotations.dicom_sr import read_sr
from pipeline.sources.annotations.marks import LabelMapSet, MarkSet
from pipeline.sources.annotations.place import place
from pipeline.sources.dicom.origin import Origin, describe
from pipeline.sources.dicom.plane import load_plane
from pipeline.sources.dicom.slides import load_slides
from pipeline.sources.identifiers import uid_digest
from tests.detections.dicom.made import AUTHOR, boxes_3d, nothing, oblique_scan, on_series, stars_2d
from tests.sources.annotations.written_dicom import slide
from tests.sources.written import write

needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not here")


def errors(made, tmp_path) -> list[str]:
    path = saved(made, tmp_path)
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True).stderr
    return [line for line in said.splitlines() if line.startswith("Error")]


def saved(made, tmp_path) -> Path:
    path = tmp_path / "made.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.dcm"
    write_microscopy(path, Subject("P", 0, "e"), np.zeros((40, 48, 3), np.uint8), 0.0005)
    (scan,) = load_plane([path])
    return scan, Origin.from_json(describe([path])["origins"][0])


@pytest.fixture
def slide_scan(tmp_path):
    path = write(slide(), tmp_path / "slide.dcm")
    (scan,) = load_slides([path])
    return scan, Origin.from_json(describe([path])["origins"][0])


def read_back(path, grid, attributes, read, files=None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lower and upper of every box, sorted."""
    found = []
    for marks in read(path):
        placed = place(resolved(marks, files or {}), grid, attributes).annotations
        found += list(zip(placed.boxes.lower, placed.boxes.upper, strict=True))
    return sorted(found, key=lambda pair: pair[0].tolist())


def check_same_boxes(found, detections, atol):
    boxes = sorted(zip(detections.boxes.lower, detections.boxes.upper, strict=True), key=lambda pair: pair[0].tolist())
    np.testing.assert_allclose(np.array(found), np.array(boxes), rtol=0, atol=atol)


@needs_dciodvfy
@pytest.mark.parametrize("regions", ["surface", "slices"])
def test_reports_on_a_volume_keep_the_standard(tmp_path, regions):
    scan, origin, _ = oblique_scan(tmp_path / "series")
    assert errors(report(boxes_3d(scan.grid), origin, AUTHOR, regions), tmp_path) == []
    assert errors(report(nothing(scan.grid), origin, AUTHOR, regions), tmp_path) == []


@needs_dciodvfy
def test_objects_on_pictures_and_slides_keep_the_standard(tmp_path, picture, slide_scan):
    for scan, origin in (picture, slide_scan):
        detections = stars_2d(scan.grid)
        assert errors(report(detections, origin, AUTHOR), tmp_path) == []
        assert errors(segmentation(detections, origin, AUTHOR), tmp_path) == []
    assert errors(bulk_annotations(detections, origin, AUTHOR, scan.attributes), tmp_path) == []


def test_boxes_come_back_from_a_report_of_an_oblique_volume(tmp_path):
    scan, origin, files = oblique_scan(tmp_path / "series")
    detections = boxes_3d(scan.grid)
    path = saved(report(detections, origin, AUTHOR), tmp_path)
    # 32-bit floats of tens of millimetres, on voxels of 0.5 mm.
    check_same_boxes(read_back(path, scan.grid, {}, read_sr), detections, 2e-5)
    slices = saved(report(detections, origin, AUTHOR, "slices"), tmp_path)
    by_digest = {uid_digest(pydicom.dcmread(file).SOPInstanceUID): file for file in files}
    found = read_back(slices, scan.grid, {}, read_sr, by_digest)
    # Whole slices: 1 … 3 for 0.3 … 3.9, and for the others the slices that they are.
    along = [(lower[2], upper[2]) for lower, upper in found]
    np.testing.assert_allclose(along, [(0.5, 3.5), (1.5, 2.5), (4.5, 5.5)], atol=1e-5)
    np.testing.assert_allclose([pair[0][:2] for pair in found], [[1.25, 1.0], [4.5, 2.5], [7.0, 4.0]], atol=2e-5)


def test_highdicom_reads_the_world_coordinates_of_a_report(tmp_path):
    scan, origin, _ = oblique_scan(tmp_path / "series")
    made = hd.sr.srread(saved(report(boxes_3d(scan.grid), origin, AUTHOR), tmp_path))
    groups = made.content.get_volumetric_roi_measurement_groups()
    points = np.concatenate(
        [np.reshape(item.GraphicData, (-1, 3)) for item in groups[0][0].ContentSequence if item.ValueType == "SCOORD3D"]
    )
    # The one-voxel box around index (5, 3, 2): its centre is that voxel's, (10, -20, 30) + 5·0.5·row + 3·2·column
    # + 2·4·normal, by hand.
    np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, [7.2, -12.1, 24.0], atol=1e-3)
    assert len({group.tracking_uid for group in groups}) == 3
    certainty = groups[0].get_measurements(name=hd.sr.CodedConcept("111012", "DCM", "Certainty of Finding"))
    assert certainty[0].value == 90.0
    assert groups[1].finding_type.meaning == "something unheard of"


def test_outlines_come_back_from_every_object_of_a_slide(tmp_path, slide_scan):
    scan, origin = slide_scan
    detections = stars_2d(scan.grid)
    annotations = saved(bulk_annotations(detections, origin, AUTHOR, scan.attributes), tmp_path)
    check_same_boxes(read_back(annotations, scan.grid, scan.attributes, read_bulk), detections, 1e-3)
    written = saved(report(detections, origin, AUTHOR), tmp_path)
    check_same_boxes(read_back(written, scan.grid, scan.attributes, read_sr), detections, 1e-5)


def test_a_segmentation_holds_the_pixels_of_the_outlines(tmp_path, picture):
    scan, origin = picture
    detections = stars_2d(scan.grid)
    (back,) = read_seg(saved(segmentation(detections, origin, AUTHOR), tmp_path))
    assert isinstance(back, LabelMapSet)
    assert not isinstance(back, MarkSet)
    inside = np.zeros(scan.grid.shape, bool)
    inside.reshape(-1)[filled(detections.outlines, scan.grid.shape)[0]] = True
    np.testing.assert_array_equal(back.label_map > 0, inside)
    assert len(back.labels) == 3


def test_the_same_result_gives_the_same_bytes_and_another_one_another_object(tmp_path, picture):
    scan, origin = picture
    first = segmentation(stars_2d(scan.grid), origin, AUTHOR), report(stars_2d(scan.grid), origin, AUTHOR)
    again = segmentation(stars_2d(scan.grid), origin, AUTHOR), report(stars_2d(scan.grid), origin, AUTHOR)
    for one, other in zip(first, again, strict=True):
        assert saved(one, tmp_path).read_bytes() == saved(other, tmp_path).read_bytes()
    fewer = report(stars_2d(scan.grid).above(0.6), origin, AUTHOR)
    assert fewer.SOPInstanceUID != first[1].SOPInstanceUID
    assert fewer.SeriesInstanceUID == first[1].SeriesInstanceUID


def test_a_report_belongs_to_the_scans_study_and_patient(tmp_path):
    made, files = on_series(tmp_path / "series")
    source = pydicom.dcmread(files[0])
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
        assert made[keyword].value == source[keyword].value
    assert (str(made.ContentDate), str(made.ContentTime)) == ("20260102", "030405")
    listed = [
        one.ReferencedSOPInstanceUID
        for holder in (made.CurrentRequestedProcedureEvidenceSequence, made.PertinentOtherEvidenceSequence)
        for series in holder[0].ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert sorted(listed) == sorted(pydicom.dcmread(file).SOPInstanceUID for file in files)


def test_a_scan_without_detections_says_so_in_a_report_only(slide_scan):
    scan, origin = slide_scan
    (evaluations,) = [
        one for one in report(nothing(scan.grid), origin, AUTHOR).ContentSequence if "ContentSequence" in one
    ][-1:]
    assert evaluations.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning == "Not detected"
    assert bulk_annotations(nothing(scan.grid), origin, AUTHOR, scan.attributes) is None
    assert segmentation(stars_2d(scan.grid).above(0.95), origin, AUTHOR) is None


def test_no_mask_is_invented_for_boxes_and_no_annotation_for_a_volume(tmp_path):
    scan, origin, _ = oblique_scan(tmp_path / "series")
    with pytest.raises(SourceError, match="invented"):
        segmentation(boxes_3d(scan.grid), origin, AUTHOR)
    with pytest.raises(SourceError, match="whole slide"):
        bulk_annotations(boxes_3d(scan.grid), origin, AUTHOR, {})


def test_slices_are_found_by_their_places_and_missing_ones_are_refused(tmp_path):
    scan, origin, files = oblique_scan(tmp_path / "series")
    # The files' names run against the slices.
    expected = [pydicom.dcmread(file).SOPInstanceUID for file in reversed(files)]
    assert [one.instance.instance_uid for one in slice_images(origin, scan.grid)] == expected
    longer = Grid((12, 8, 8), scan.grid.affine)
    with pytest.raises(GeometryError, match="2 of 8 slices"):
        slice_images(origin, longer)


def test_a_header_value_that_breaks_the_rules_is_left_out_and_not_quoted(tmp_path):
    _, origin, _ = oblique_scan(tmp_path / "series", PatientBirthDate="unknown", PatientSex="X")
    assert origin.left_out == ("PatientBirthDate", "PatientSex")
    assert "Doe" not in repr(origin)
