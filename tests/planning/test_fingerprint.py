from dataclasses import replace

import numpy as np
import pytest

from pipeline.geometry import Boxes, Grid
from pipeline.planning.choice import number
from pipeline.planning.fingerprint import take_fingerprint
from pipeline.planning.intensities import intensity_facts
from pipeline.planning.objects import object_facts
from pipeline.planning.spread import Spread
from pipeline.volumes import Annotations
from tests.phantoms import awkward_affine, volume_with
from tests.planning.written_scans import field, pointed, scan


def test_percentiles_are_linear_between_values():
    spread = Spread.of([0.0, 10.0])
    assert (spread.smallest, spread.p5, spread.p50, spread.p99, spread.largest) == (0, 0.5, 5, 9.9, 10)
    assert Spread.of([]) is None


def test_sizes_and_neighbours_are_in_the_unit_of_the_grid(tmp_path):
    facts = object_facts([scan(tmp_path, n, spacing=(0.5, 0.5, 3.0)) for n in range(3)])
    assert [one.p50 for one in facts.size] == [4.0, 4.0, 12.0]  # 8 x 8 x 4 voxels
    assert facts.extent.p50 == 12.0
    # Centres are 20, 20 and 6 voxels apart: 10, 10 and 18 mm.
    assert facts.neighbour.p50 == pytest.approx((10**2 + 10**2 + 18**2) ** 0.5, rel=1e-5)
    assert facts.overlap == 0.0


def test_axes_are_those_of_the_network_however_the_scan_is_stored(tmp_path):
    grid = Grid((16, 12, 8), awkward_affine())  # 2 mm along i, 0.5 along j and 3 along k by the columns of the affine
    lower = np.array([[3.5, 3.5, 2.5]])
    volume = volume_with(
        tmp_path, np.zeros((1, 16, 12, 8), np.int16), grid, Boxes(lower, lower + np.array([4, 2, 1]), grid)
    )
    found = take_fingerprint([volume], 1, None)
    spacing = grid.spacing
    # The stored i runs nearest to the world's second axis, j to its first.
    assert [one.p50 for one in found.spacing] == pytest.approx([spacing[1], spacing[0], spacing[2]])
    assert [one.p50 for one in found.shape] == [12, 16, 8]
    assert [one.p50 for one in found.objects.size] == pytest.approx([2 * spacing[1], 4 * spacing[0], spacing[2]])


def test_ignored_objects_do_not_count(tmp_path):
    volume = scan(tmp_path, 0)
    marks = replace(volume.annotations, ignore=np.array([True, False]))
    facts = object_facts([replace(volume, annotations=marks)])
    assert (facts.count, facts.classes, facts.scans_of_one) == (1, {"lesion": 1}, 1)
    assert facts.neighbour is None


def test_a_scan_without_objects_is_counted_and_measured(tmp_path):
    empty = scan(tmp_path, 1, at=())
    facts = object_facts([scan(tmp_path, 0), empty])
    assert (facts.scans, facts.scans_without, facts.per_scan.p50) == (2, 1, 1.0)
    alone = take_fingerprint([empty, scan(tmp_path, 0)], 1, None)
    assert alone.scans == 2


def test_overlap_is_the_iou_with_the_worst_neighbour(tmp_path):
    grid = Grid.of_pixels((64, 64))
    lower = np.array([[0.0, 0.0], [5.0, 0.0], [40.0, 40.0]])
    volume = volume_with(tmp_path, np.zeros((1, 64, 64), np.uint8), grid, Boxes(lower, lower + 10, grid))
    # The first two share 50 of 150: 1/3; the 99th percentile of (1/3, 1/3, 0) is 1/3.
    assert object_facts([volume]).overlap == pytest.approx(1 / 3)


def test_of_points_the_distances_are_known_and_the_sizes_are_not(tmp_path):
    facts = object_facts([pointed(field(tmp_path, n, size=10, step=20)) for n in range(2)])
    assert facts.from_points
    assert (facts.size, facts.extent, facts.neighbour.p50) == ((), None, 20.0)


def test_an_object_in_the_middle_is_told_from_one_beside_it(tmp_path):
    middle = scan(tmp_path, 0, at=((16, 16, 6),))
    beside = scan(tmp_path, 1, at=((4, 16, 6),))
    assert object_facts([middle]).centred == 1.0
    assert object_facts([middle, beside]).centred == 0.5


def test_intensities_inside_and_outside_boxes_are_those_painted(tmp_path):
    facts = intensity_facts([scan(tmp_path, n) for n in range(3)])
    assert facts.inside == (40, 40, 40)
    assert facts.outside[1] == -1000
    assert facts.outside[2] < 0  # no voxel of an object counts as outside
    assert facts.around[0] == -1000
    assert facts.dtype == "int16"
    assert sum(facts.histogram.inside) == pytest.approx(1.0, abs=0.01)


def test_grain_is_the_standard_deviation_of_white_noise(tmp_path):
    noise = np.random.default_rng(0).normal(100, 5, (1, 200, 200)).astype(np.float32)
    volume = volume_with(tmp_path, noise, Grid.of_pixels((200, 200)))
    (one,) = intensity_facts([volume]).scans
    assert one.grain == pytest.approx(5, rel=0.05)
    assert one.mean == pytest.approx(100, rel=0.01)


def test_what_was_cut_away_around_a_brain_does_not_count_as_dark(tmp_path):
    image = np.zeros((1, 100, 100), np.float32)
    image[0, 30:70] = np.random.default_rng(0).normal(100, 5, (40, 100))
    (one,) = intensity_facts([volume_with(tmp_path, image, Grid.of_pixels((100, 100)))]).scans
    assert one.mean == pytest.approx(100, rel=0.01)


def test_a_large_scan_is_sampled_and_not_read_whole(tmp_path):
    image = np.full((1, 3000, 2000), 7, np.uint8)
    grid = Grid.of_pixels((3000, 2000))
    image[0, 1000:1020, 1000:1020] = 99
    boxes = Boxes(np.array([[999.5, 999.5]]), np.array([[1019.5, 1019.5]]), grid)
    facts = intensity_facts([volume_with(tmp_path, image, grid, boxes)])
    assert facts.inside == (99, 99, 99)
    assert facts.outside == (7, 7, 7)


def test_forms_of_annotation_are_told_apart(tmp_path):
    masked = replace(field(tmp_path, 0), label_map_path=tmp_path / "labels")
    every = [masked, field(tmp_path, 1), pointed(field(tmp_path, 2)), pointed(field(tmp_path, 3))]
    found = take_fingerprint(every, 1, 4, [scan(tmp_path, 9, at=()), pointed(field(tmp_path, 4))])
    assert found.annotated_by == {"boxes": 1, "masks": 1, "nothing": 1, "points": 3}
    assert (found.patients, found.held_back, found.unit) == (4, 2, "px")


def test_values_that_are_nowhere_are_null_in_json(tmp_path):
    grid = Grid.of_pixels((8, 8))
    boxes = Boxes(np.array([[-0.5, -0.5]]), np.array([[7.5, 7.5]]), grid)  # all of the scan
    volume = volume_with(tmp_path, np.full((1, 8, 8), 3, np.uint8), grid, boxes)
    found = take_fingerprint([volume], 1, None).to_json()["intensity"]
    assert (found["inside"], found["outside"]) == ([3, 3, 3], [None, None, None])
    assert number(np.nan) == "none"


def test_a_scan_of_one_voxel_has_a_fingerprint(tmp_path):
    grid = Grid((1, 1, 1), np.eye(4))
    boxes = Boxes(np.array([[-0.5] * 3]), np.array([[0.5] * 3]), grid)
    volume = volume_with(tmp_path, np.full((1, 1, 1, 1), 3, np.int16), grid, boxes)
    found = take_fingerprint([volume], 1, None)
    assert found.intensity.inside == (3, 3, 3)
    assert found.intensity.scans[0].grain == 0.0


def test_the_order_of_scans_changes_nothing(tmp_path):
    every = [field(tmp_path, n) for n in range(5)]
    assert take_fingerprint(every, 1, None) == take_fingerprint(every[::-1], 1, None)


def test_unlabelled_annotations_have_no_class(tmp_path):
    volume = scan(tmp_path, 0)
    marks = volume.annotations
    assert object_facts([replace(volume, annotations=Annotations.of(marks.boxes, ("a", "b")))]).classes == {
        "a": 1,
        "b": 1,
    }
