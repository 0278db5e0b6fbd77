import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.dicom_planes import resolved
from pipeline.sources.annotations.marks import Mark, MarkSet, Reference
from pipeline.sources.identifiers import uid_digest
from tests.sources.annotations import written_dicom as written


def _marks(points, *images):
    instances, frames = zip(*images, strict=True)
    reference = Reference(instances=instances, frames=frames)
    return MarkSet(reference, "frame_px", (Mark("a", np.array(points), "polygon"),))


def _slices(tmp_path, count=3):
    made = written.source_slices(count)
    return {written.slice_digest(k): written.save(one, tmp_path / f"{k}.dcm") for k, one in enumerate(made)}


def test_pixel_centres_on_oblique_slices_are_where_the_voxels_are(tmp_path):
    # Pixel (3, 2) has its centre at edge coordinates (3.5, 2.5); LPS as in test_dicom_seg, and two slices further.
    marks = _marks([(3.5, 2.5, 0), (3.5, 2.5, 1)], (written.slice_digest(1), 1), (written.slice_digest(2), 1))
    placed = resolved(marks, _slices(tmp_path))
    assert placed.frame == "lps_mm"
    np.testing.assert_allclose(placed.marks[0].points, [(8.8, -15.9, 26.0), (6.4, -12.7, 26.0)], atol=1e-9)


def test_outer_corner_of_a_slice_is_half_a_pixel_before_its_position(tmp_path):
    placed = resolved(_marks([(0, 0, 0)], (written.slice_digest(0), 1)), _slices(tmp_path))
    # (10, -20, 30) - 0.25 * (0.8, 0.6, 0) - 1 * (0, 0, -1).
    np.testing.assert_allclose(placed.marks[0].points, [(9.8, -20.15, 31.0)], atol=1e-9)


@pytest.mark.parametrize("full", [True, False])
def test_tile_starts_at_its_place_on_the_slide(tmp_path, full):
    path = written.save(written.slide(full=full), tmp_path / "slide.dcm")
    digest = uid_digest("1.2.3.6.1")
    # 5 x 4 tiles of 10 pixels; the 8th in order is the 3rd of the 2nd row, reversed the 3rd of the 3rd row.
    placed = resolved(_marks([(1.5, 2.0, 0)], (digest, 8)), {digest: path})
    assert placed.frame == "edge_px"
    assert placed.marks[0].points.tolist() == [[21.5, 12.0 if full else 22.0]]


def test_frame_of_a_multi_frame_object_has_its_own_place(tmp_path):
    made = written.source_slices(1)[0]
    del made.ImagePositionPatient
    made.NumberOfFrames = 2
    for position in ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = list(position)
        group.PlanePositionSequence = [place]
        made.setdefault("PerFrameFunctionalGroupsSequence", []).value.append(group)
    path = written.save(made, tmp_path / "frames.dcm")
    placed = resolved(_marks([(0.5, 0.5, 0)], (written.slice_digest(0), 2)), {written.slice_digest(0): path})
    np.testing.assert_allclose(placed.marks[0].points, [(4.0, 5.0, 6.0)], atol=1e-9)


def test_marks_in_another_frame_stay_as_they_are():
    marks = MarkSet(Reference(series="s"), "lps_mm", (Mark("a", np.zeros((1, 3)), "point"),))
    assert resolved(marks, {}) is marks


def test_image_that_is_not_there_or_has_no_such_frame_or_place_is_refused(tmp_path):
    files = _slices(tmp_path, 1)
    with pytest.raises(AnnotationError, match="not there"):
        resolved(_marks([(0, 0, 0)], ("other", 1)), files)
    with pytest.raises(AnnotationError, match="frame 2 of an image with 1"):
        resolved(_marks([(0, 0, 0)], (written.slice_digest(0), 2)), files)
    with pytest.raises(AnnotationError, match="not in its list"):
        resolved(_marks([(0, 0, 1)], (written.slice_digest(0), 1)), files)
    nowhere = written.source_slices(1, ImageOrientationPatient=None)[0]
    path = written.save(nowhere, tmp_path / "nowhere.dcm")
    with pytest.raises(AnnotationError, match="without ImageOrientationPatient"):
        resolved(_marks([(0, 0, 0)], (written.slice_digest(0), 1)), {written.slice_digest(0): path})
