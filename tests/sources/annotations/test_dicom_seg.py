import numpy as np
import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes
from pipeline.sources.annotations.dicom_seg import read_seg
from tests.sources.annotations import written_dicom as written


def _mask(*voxels, segments=0):
    """Of the oblique series, from ``(i, j, k[, segment])``."""
    mask = np.zeros((6, 8, 12) + (segments,) * bool(segments), np.uint8)
    for i, j, k, *segment in voxels:
        mask[(k, j, i, *segment)] = 1
    return mask


def _read(tmp_path, made):
    return read_seg(written.save(made, tmp_path / "seg.dcm"))


def _positions(one, value):
    return np.round(one.grid.to_world(np.argwhere(one.label_map == value).astype(float)), 6).tolist()


def test_voxel_of_an_oblique_series_keeps_its_place_in_the_patient(tmp_path):
    (one,) = _read(tmp_path, written.segmentation(written.source_slices(), _mask((3, 2, 1))))
    # LPS (10, -20, 30) + 3 * 0.5 * (0.8, 0.6, 0) + 2 * 2 * (0, 0, -1) + 1 * 4 * (-0.6, 0.8, 0) = (8.8, -15.9, 26).
    assert _positions(one, 1) == [[-8.8, 15.9, 26.0]]
    assert one.grid.spacing.tolist() == pytest.approx([0.5, 2, 4])
    assert one.labels == {1: "Nodule"}


def test_box_on_the_sources_grid_is_exact_though_only_some_slices_are_stored(tmp_path):
    from pipeline.sources.dicom.series import load_series

    sources = written.source_slices()
    paths = [written.save(one, tmp_path / f"{k}.dcm") for k, one in enumerate(sources)]
    (scan,) = load_series(paths)
    (one,) = _read(tmp_path, written.segmentation(sources, _mask((3, 2, 1), (4, 2, 1), (3, 2, 4))))
    assert one.label_map.shape == (12, 8, 4)
    boxes, _ = Boxes.from_label_map(one.label_map, one.grid)
    on_scan = boxes.to(scan.grid)
    np.testing.assert_allclose(on_scan.lower, [[2.5, 1.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(on_scan.upper, [[4.5, 2.5, 4.5]], atol=1e-6)


def test_references_are_the_slices_that_the_frames_come_from(tmp_path):
    (one,) = _read(tmp_path, written.segmentation(written.source_slices(), _mask((0, 0, 1), (0, 0, 3))))
    assert set(one.reference.instances) == {written.slice_digest(1), written.slice_digest(3)}


def test_no_voxel_means_looked_at_and_nothing_found(tmp_path):
    made = written.segmentation(written.source_slices(), _mask(), omit_empty_frames=False)
    (one,) = _read(tmp_path, made)
    assert one.labels == {}
    assert not one.label_map.any()


def test_overlapping_segments_come_apart_and_touching_ones_together(tmp_path):
    mask = _mask((3, 2, 1, 0), (4, 2, 1, 0), (4, 2, 1, 1), (5, 2, 1, 2), segments=3)
    first, second = _read(tmp_path, written.segmentation(written.source_slices(), mask, segments=3))
    assert [sorted(one.labels) for one in (first, second)] == [[1, 3], [2]]
    assert len(_positions(first, 1)) == 2
    assert _positions(second, 2) == _positions(first, 1)[1:]


def test_pieces_of_a_segment_in_the_patient_are_one_object(tmp_path):
    (one,) = _read(tmp_path, written.segmentation(written.source_slices(), _mask((0, 0, 1), (9, 7, 3))))
    assert len(one.labels) == 1


def test_fraction_of_half_the_maximum_belongs_and_less_does_not(tmp_path):
    fractions = np.zeros((6, 8, 12))
    fractions[2, 3, 4:7] = 127 / 255, 128 / 255, 1
    made = written.segmentation(written.source_slices(), fractions, "FRACTIONAL", max_fractional_value=255)
    (one,) = _read(tmp_path, made)
    assert np.argwhere(one.label_map).tolist() == [[5, 3, 0], [6, 3, 0]]
    assert "fractional" in one.notes[0]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_label_map_leaves_the_background_out(tmp_path, syntax):
    made = written.segmentation(
        written.source_slices(), _mask((3, 2, 1), (3, 2, 4)), "LABELMAP", transfer_syntax_uid=syntax
    )
    (one,) = _read(tmp_path, made)
    assert np.argwhere(one.label_map).tolist() == [[3, 2, 0], [3, 2, 3]]
    assert list(one.labels.values()) == ["Nodule"]


def test_frames_compressed_by_deflation_are_read(tmp_path):
    import zlib

    from pydicom.encaps import encapsulate

    made = written.segmentation(written.source_slices(), _mask((3, 2, 1), (11, 7, 2)))
    frames = np.unpackbits(np.frombuffer(made.PixelData, np.uint8), bitorder="little")[: 2 * 96].reshape(2, 96)
    deflate = [zlib.compressobj(wbits=-15) for _ in frames]
    packed = [np.packbits(frame, bitorder="little").tobytes() for frame in frames]
    made.PixelData = encapsulate([one.compress(data) + one.flush() for one, data in zip(deflate, packed, strict=True)])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    path = written.save(made, tmp_path / "seg.dcm")
    # pydicom does not know the syntax yet, so the file is written as another and renamed inside.
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.8.1\0"))
    (one,) = read_seg(path)
    assert np.argwhere(one.label_map).tolist() == [[3, 2, 0], [11, 7, 1]]


@pytest.mark.parametrize("full", [False, True])
def test_pieces_on_a_slide_are_objects_across_tiles(tmp_path, full):
    mask = np.zeros((1, 40, 50), np.uint8)
    mask[0, 5:15, 8:12] = 1  # over four tiles
    mask[0, 15, 12] = 1  # joined by a corner
    mask[0, 39, 49] = 1
    options = {"dimension_organization_type": "TILED_FULL", "omit_empty_frames": False} if full else {}
    (one,) = _read(tmp_path, written.segmentation([written.slide()], mask, tile_pixel_array=True, **options))
    boxes, values = Boxes.from_label_map(one.label_map, one.grid)
    assert boxes.lower.tolist() == [[7.5, 4.5], [48.5, 38.5]]
    assert boxes.upper.tolist() == [[12.5, 15.5], [49.5, 39.5]]
    assert [one.labels[int(value)] for value in values] == ["Nodule", "Nodule"]
    assert one.grid.spacing.tolist() == pytest.approx([0.002, 0.004])


def test_tiles_at_the_edge_of_a_slide_are_cut_to_it(tmp_path):
    mask = np.zeros((1, 37, 46), np.uint8)
    mask[0, 36, 45] = 1
    (one,) = _read(tmp_path, written.segmentation([written.slide(46, 37)], mask, tile_pixel_array=True))
    assert one.label_map.shape == (46, 37)
    assert np.argwhere(one.label_map).tolist() == [[45, 36]]


def test_tracked_segment_on_a_slide_is_one_object_however_many_pieces(tmp_path):
    mask = np.zeros((1, 40, 50), np.uint8)
    mask[0, 3, 3] = mask[0, 30, 30] = 1
    (one,) = _read(tmp_path, written.segmentation([written.slide()], mask, tile_pixel_array=True, tracked=True))
    assert list(one.labels) == [1]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("tracked", [False, True])
def test_boxes_of_a_slide_too_large_for_a_raster_are_those_of_the_raster(tmp_path, monkeypatch, kind, tracked):
    # Blobs, diagonals and lines over the borders and corners of the 10 x 10 tiles, of two segments.
    chance = np.random.default_rng(3).random((1, 37, 46))
    mask = np.where(chance < 0.2, 1, np.where(chance > 0.8, 2, 0)).astype(np.uint8)
    made = written.segmentation([written.slide(46, 37)], mask, kind, 2, tile_pixel_array=True, tracked=tracked)
    path = written.save(made, tmp_path / "seg.dcm")
    expected = [
        [*low, *high]
        for one in read_seg(path)
        for boxes, _ in [Boxes.from_label_map(one.label_map, one.grid)]
        for low, high in zip((boxes.lower + 0.5).tolist(), (boxes.upper + 0.5).tolist(), strict=True)
    ]
    monkeypatch.setattr("pipeline.sources.annotations.dicom_seg.LARGEST_RASTER", 1)
    (marks,) = read_seg(path)
    assert marks.frame == "edge_px"
    assert sorted(mark.points.ravel().tolist() for mark in marks.marks) == sorted(expected)
    assert len(marks.marks) == 2 if tracked else len(marks.marks) > 100


def test_unspecific_tissue_takes_the_segments_own_label(tmp_path):
    made = written.segmentation(written.source_slices(), _mask((0, 0, 0)))
    made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"
    (one,) = _read(tmp_path, made)
    assert one.labels == {1: "segment 1"}


def test_slice_distance_is_the_smallest_gap_where_nothing_states_it(tmp_path):
    made = written.segmentation(written.source_slices(), _mask((0, 0, 1), (0, 0, 2), (0, 0, 5)))
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = 3.0
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    (one,) = _read(tmp_path, made)
    assert one.grid.spacing[2] == pytest.approx(4.0)
    assert np.argwhere(one.label_map)[:, 2].tolist() == [0, 1, 4]
    assert "not stated" in one.notes[0]


def _more_groups(made):
    made.PerFrameFunctionalGroupsSequence.append(made.PerFrameFunctionalGroupsSequence[0])


def _of_no_segment(made):
    del made.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence


def _without_place(made):
    del made.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence


def _move(made):
    made.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [10.0, -20.0, 31.0]


def _turn(made):
    made.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence = [
        made.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].__class__()
    ]
    own = made.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    own.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


def _set(keyword, value):
    return lambda made: setattr(made, keyword, value)


def _stranger(made):
    made.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7


def _same_place(made):
    first, second = made.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence = first.PlanePositionSequence


def _nowhere(made):
    for group in made.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    del made.ReferencedSeriesSequence, made.SourceImageSequence


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_set("NumberOfFrames", 3), "call for 36 bytes of pixels, 24 are there"),
        (_more_groups, "must have 2 items, got 3"),
        (_set("PixelData", b"\0" * 10), "call for 24 bytes of pixels, 10 are there"),
        (_set("Rows", 60000), "bytes of pixels"),
        (_set("Columns", 0), "at least 1"),
        (_set("SegmentationType", "SURFACE"), "must be BINARY"),
        (_set("BitsAllocated", 32), "1, 8 or 16 bits"),
        (_set("SegmentSequence", []), "SegmentSequence is missing"),
        (_of_no_segment, "which segment"),
        (_without_place, "ImagePositionPatient"),
        (_stranger, "segment 7, which is not described"),
        (_same_place, "at one place"),
        (_move, "beside the lattice"),
        (_turn, "several orientations"),
        (_nowhere, "its image is unknown"),
    ],
)
def test_contradiction_is_refused_with_the_reason(tmp_path, spoil, reason):
    made = written.segmentation(written.source_slices(), _mask((3, 2, 1), (3, 2, 3)))
    spoil(made)
    with pytest.raises(AnnotationError, match=reason):
        _read(tmp_path, made)


def test_cut_or_foreign_file_is_refused(tmp_path):
    path = written.save(written.segmentation(written.source_slices(), _mask((3, 2, 1))), tmp_path / "seg.dcm")
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AnnotationError):
        read_seg(tmp_path / "cut.dcm")
    with pytest.raises(AnnotationError, match="its SOP class is another"):
        read_seg(written.save(written.source_slices(1)[0], tmp_path / "slice.dcm"))
