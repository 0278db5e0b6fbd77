"""DICOM annotations of public corpora against other readers of them: NRRD references, highdicom."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes
from pipeline.geometry.frames import lps_to_ras
from pipeline.sources.annotations.dicom_bulk import read_bulk
from pipeline.sources.annotations.dicom_planes import resolved
from pipeline.sources.annotations.dicom_rtstruct import read_rtstruct
from pipeline.sources.annotations.dicom_seg import read_seg
from pipeline.sources.annotations.dicom_sr import read_sr
from pipeline.sources.identifiers import uid_digest

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
DCMQI, HIGHDICOM = DATA / "dcmqi" / "data", DATA / "highdicom" / "data" / "test_files"
RT_UTILS = DATA / "rt_utils" / "tests" / "mock_data"
needs_dcmqi = pytest.mark.skipif(not DCMQI.is_dir(), reason="the data folder has no dicom/dcmqi")
needs_highdicom = pytest.mark.skipif(not HIGHDICOM.is_dir(), reason="the data folder has no dicom/highdicom")
needs_rt_utils = pytest.mark.skipif(not RT_UTILS.is_dir(), reason="the data folder has no dicom/rt_utils")

REFERENCES = {
    "liver.dcm": ["liver_seg.nrrd"],
    "partial_overlaps.dcm": ["partial_overlaps-1.nrrd", "partial_overlaps-2.nrrd", "partial_overlaps-3.nrrd"],
    "sparse-labelmap-noppv.dcm": ["sparse_labelmap_noppv_seg.nrrd"],
    "sparse-labelmap-ppv5.dcm": ["sparse_labelmap_ppv5_seg.nrrd"],
    "23x38x3/seg/label.seg": ["23x38x3/nrrd/label.nrrd"],
    "24x38x3/seg/label.seg": ["24x38x3/nrrd/label.nrrd"],
}


def _places(points_ras):
    """World positions in RAS, to a hundredth of a millimetre."""
    return frozenset(map(tuple, np.round(points_ras, 2).tolist()))


def _of_nrrd(path):
    nrrd = pytest.importorskip("nrrd")
    values, header = nrrd.read(str(path))
    assert header["space"] == "left-posterior-superior"
    # The reference of the file with pixel padding value 5 fills its empty slice with 5, which is no segment.
    kept = [value for value in np.unique(values[values > 0]) if not ("ppv5" in path.name and value == 5)]
    voxels = {int(value): np.argwhere(values == value) for value in kept}
    return [
        _places(lps_to_ras(where @ header["space directions"] + header["space origin"])) for where in voxels.values()
    ]


@needs_dcmqi
@pytest.mark.parametrize("name", REFERENCES)
def test_segments_of_dcmqi_are_where_their_nrrd_says(name):
    folder = DCMQI / "segmentations"
    expected = [places for one in REFERENCES[name] for places in _of_nrrd(folder / one)]
    found = [
        _places(one.grid.to_world(np.argwhere(one.label_map == value).astype(float)))
        for one in read_seg(folder / name)
        for value in one.labels
    ]
    assert sorted(map(len, found)) == sorted(map(len, expected))
    # Positions are rounded to the hundredth, so that a few may fall on either side of it.
    for places in found:
        assert min(_apart(places, other) for other in expected) < 0.02


def _apart(places, others):
    if len(places) != len(others):
        return np.inf
    return np.abs(np.array(sorted(places)) - np.array(sorted(others))).max()


@needs_dcmqi
def test_segment_of_dcmqi_lies_on_its_source_series():
    from pipeline.sources.dicom.series import load_series

    folder = DCMQI / "segmentations"
    (scan,) = load_series(sorted((folder / "ct-3slice").glob("*.dcm")))
    (liver,) = read_seg(folder / "liver.dcm")
    assert liver.grid.shape == scan.grid.shape
    np.testing.assert_allclose(liver.grid.affine, scan.grid.affine, atol=1e-4)
    instances = {uid_digest(pydicom.dcmread(path).SOPInstanceUID) for path in (folder / "ct-3slice").glob("*.dcm")}
    assert set(liver.reference.instances) == instances


@needs_dcmqi
def test_report_on_segments_only_has_nothing_to_take():
    assert read_sr(DCMQI / "sr-example" / "sr.dcm") == []
    (tumour,) = read_seg(DCMQI / "sr-example" / "seg.dcm")
    assert tumour.labels == {1: "Neoplasm, Primary"}
    # The report measures 33.5824 ml by counting voxels.
    volume_ml = (tumour.label_map > 0).sum() * np.prod(tumour.grid.spacing) / 1000
    assert volume_ml == pytest.approx(33.5824, rel=1e-3)


@needs_highdicom
@pytest.mark.parametrize("path", sorted(HIGHDICOM.glob("seg_image_sm_*.dcm")), ids=lambda path: path.stem)
def test_tiled_segments_equal_highdicoms_total_pixel_matrix(path):
    hd = pytest.importorskip("highdicom")
    expected = hd.seg.segread(path).get_total_pixel_matrix(combine_segments=True, skip_overlap_checks=True).T
    (one,) = read_seg(path)
    np.testing.assert_array_equal(one.label_map > 0, expected > 0)
    for value in one.labels:
        assert len(np.unique(expected[one.label_map == value])) == 1


@needs_highdicom
@pytest.mark.parametrize("path", sorted(HIGHDICOM.glob("seg_image_ct_*.dcm")), ids=lambda path: path.stem)
def test_segments_in_the_patient_equal_highdicoms_frames(path):
    hd = pytest.importorskip("highdicom")
    sets, theirs = read_seg(path), hd.seg.segread(path)
    for segment in theirs.segment_numbers:
        (one,) = [each for each in sets if segment in each.labels]
        ours = _places(one.grid.to_world(np.argwhere(one.label_map == segment).astype(float)))
        expected = set()
        for number, frame in enumerate(theirs.pixel_array.reshape(-1, theirs.Rows, theirs.Columns)):
            groups = (theirs.PerFrameFunctionalGroupsSequence[number], theirs.SharedFunctionalGroupsSequence[0])
            identity, place, way, measures = (
                next(group[name][0] for group in groups if name in group)
                for name in (
                    "SegmentIdentificationSequence",
                    "PlanePositionSequence",
                    "PlaneOrientationSequence",
                    "PixelMeasuresSequence",
                )
            )
            if identity.ReferencedSegmentNumber != segment:
                continue
            rows_columns = np.argwhere(frame >= (128 if frame.max() > 1 else 1))
            moved = hd.spatial.PixelToReferenceTransformer(
                place.ImagePositionPatient, way.ImageOrientationPatient, measures.PixelSpacing
            )
            expected |= _places(lps_to_ras(moved(rows_columns[:, ::-1])))
        assert _apart(ours, expected) < 0.02


@needs_highdicom
def test_segment_of_a_projection_image_lies_on_its_pixels():
    (one,) = read_seg(HIGHDICOM / "seg_image_cr_binary.dcm")
    dataset = pydicom.dcmread(HIGHDICOM / "seg_image_cr_binary.dcm")
    np.testing.assert_array_equal(one.label_map, dataset.pixel_array.T)
    assert (one.grid.unit, one.grid.shape) == ("px", (16, 16))


@needs_highdicom
def test_bulk_annotations_equal_highdicoms():
    hd = pytest.importorskip("highdicom")
    theirs = hd.ann.annread(HIGHDICOM / "sm_annotations.dcm")
    (one,) = read_bulk(HIGHDICOM / "sm_annotations.dcm")
    expected = [
        points
        for group in theirs.get_annotation_groups()
        for points in group.get_graphic_data(theirs.annotation_coordinate_type)
    ]
    np.testing.assert_allclose([mark.points for mark in one.marks], expected)
    assert (one.frame, one.from_points) == ("edge_px", True)


@needs_highdicom
def test_regions_of_a_report_fall_on_the_slice_that_they_are_drawn_on():
    image = HIGHDICOM / "ct_image.dcm"
    header = pydicom.dcmread(image)
    areas, points = read_sr(HIGHDICOM / "sr_document_with_multiple_groups.dcm")
    assert [mark.label for mark in (*areas.marks, *points.marks)] == ["Nodule", "Aorta", "Vertebra"]
    placed = resolved(areas, {uid_digest(header.SOPInstanceUID): image})
    hd = pytest.importorskip("highdicom")
    expected = hd.spatial.ImageToReferenceTransformer.for_image(header)(areas.marks[0].points[:, :2])
    np.testing.assert_allclose(placed.marks[0].points, expected, atol=1e-9)


@needs_rt_utils
def test_contours_of_rt_utils_lie_on_their_slices():
    (one,) = read_rtstruct(RT_UTILS / "rt.dcm")
    (mark,) = one.marks
    assert (mark.label, mark.points.min(axis=0).tolist()) == ("ROI-1", [-51, -51, 60])
    instances = {uid_digest(pydicom.dcmread(RT_UTILS / f"ct_{n}.dcm").SOPInstanceUID) for n in (1, 2)}
    assert set(one.reference.instances) == instances


@needs_rt_utils
@pytest.mark.parametrize(("name", "absent"), [("invalid_reference_rt", 3), ("non_existent_reference_rt", 1)])
def test_references_to_images_that_are_not_there_are_kept(name, absent):
    (one,) = read_rtstruct(RT_UTILS / f"{name}.dcm")
    there = {uid_digest(pydicom.dcmread(RT_UTILS / f"ct_{n}.dcm").SOPInstanceUID) for n in (1, 2)}
    assert len(set(one.reference.instances) - there) == absent
    assert len(one.marks) == 4


def test_segmentation_of_pydicom_that_lost_its_frames_is_refused():
    path = Path(pydicom.data.get_testdata_file("liver_1frame.dcm"))
    with pytest.raises(AnnotationError, match="must have 1 items, got 3"):
        read_seg(path)


@needs_highdicom
def test_boxes_of_single_pixels_are_one_pixel_large():
    (one,) = read_seg(HIGHDICOM / "seg_image_sm_dots.dcm")
    boxes, values = Boxes.from_label_map(one.label_map, one.grid)
    counts = [(one.label_map == value).sum() for value in values]
    assert (boxes.sizes.prod(axis=1) >= counts).all()
