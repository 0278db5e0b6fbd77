"""What a shift of the window does, by a network whose answer to every shift is known by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.maps import Maps
from pipeline.explanation.scan import NetworkScan
from pipeline.explanation.translation import (
    ShiftPlan,
    _outcome,
    follow_shifts,
    plan_shifts,
    translation_of_scan,
    translation_report,
)
from pipeline.geometry import Boxes, Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.stages.pictures import known
from tests.experiments import tiny_2d, tiny_3d


class Snaps(CentreDetector):
    """Finds each voxel of value 1 at the centre of its output cell of 2 voxels, as strided networks do."""

    def forward(self, image):
        found = torch.nn.functional.max_pool2d(image[:, :1], self.stride, stride=self.stride)[:, 0]
        score = torch.where(found > 0.9, found * 3, torch.full_like(found, -9.0))
        shape = (image.shape[0], 1, *score.shape[1:])
        return Maps(score, torch.zeros(shape), torch.full((image.shape[0], 4, *score.shape[1:]), 4.0))


def scan_of(spots, shape=(80, 80)) -> NetworkScan:
    image = torch.zeros(1, *shape)
    for spot in spots:
        image[(0, *spot)] = 1
    grid = Grid.of_pixels(shape)
    return NetworkScan(image, grid, grid)


def test_a_network_that_snaps_to_cells_of_two_moves_by_one_at_odd_shifts_and_not_at_even_ones():
    config = tiny_2d()
    network = Snaps(config).eval()
    scan = scan_of([(30, 40), (41, 33), (44, 50)])
    spots = np.array([[30.0, 40], [41, 33], [44, 50]])
    plans = [plan_shifts(network, config, scan.grid, spots, np.array([4, 4]), axis) for axis in (0, 1)]
    assert [plan.size for plan in plans] == [(64, 64)] * 2
    assert [plan.moves for plan in plans] == [tuple((axis, n) for n in (-4, -3, -2, -1, 1, 2, 3, 4)) for axis in (0, 1)]
    shifts = [one for plan in plans for one in follow_shifts(network, config, scan, plan, 0.5)]
    assert [one.detections for one in shifts] == [3] * 16
    odd, even = pytest.approx((1.0,) * 3), pytest.approx((0.0,) * 3)
    # Cells begin at even voxels of the window; shifted by 1 the centre of a spot's cell lies one voxel further.
    assert [one.moved_voxel for one in shifts] == [even, odd, even, odd, odd, even, odd, even] * 2
    assert all(one.lost == one.appeared == 0 and max(one.score_change) == 0 for one in shifts)


def test_an_object_near_the_border_of_a_window_is_not_followed():
    config = tiny_2d()
    network = Snaps(config).eval()
    scan = scan_of([(34, 40), (6, 40)], (72, 72))
    spots, counts = np.array([[34.0, 40], [6, 40]]), []
    for axis in (0, 1):  # along the second axis both lie in the middle
        plan = plan_shifts(network, config, scan.grid, spots, np.array([4, 4]), axis)
        counts.append({one.detections for one in follow_shifts(network, config, scan, plan, 0.5)})
    assert counts == [{1}, {2}]


def test_the_window_is_laid_where_most_objects_are():
    config, spots = tiny_2d(), np.array([[20.0, 20], [200, 150], [205, 160], [190, 140]])
    plan = plan_shifts(Snaps(config), config, Grid.of_pixels((256, 256)), spots, np.array([4, 4]), 0)
    held = ((spots >= plan.lower) & (spots < plan.upper)).all(axis=1)
    assert held.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("length", "amounts"),
    # Strides of 2 want 4 voxels and room for one shift; to both sides 8 and room for two.
    [(1, ()), (5, ()), (6, (1, 2)), (11, (1, 2)), (12, (-2, -1, 1, 2)), (300, (-2, -1, 1, 2))],
)
def test_along_a_short_axis_windows_begin_later_only_or_nowhere_else(length, amounts):
    config = tiny_3d()
    grid = Grid((length, 64, 5), np.eye(4))
    plan = plan_shifts(CentreDetector(config), config, grid, np.zeros((0, 3)), np.array([4, 4, 4]), 0)
    assert tuple(n for _, n in plan.moves) == amounts
    first, last = min((0, *amounts)), max((0, *amounts))
    assert plan.start[0] + first >= 0
    assert plan.start[0] + last + plan.size[0] <= length
    assert plan.size[1:] == (32, 5)  # the inference window, or all there is


def test_what_is_lost_and_what_changed_is_counted_by_hand():
    grid = Grid((50, 50), np.diag([0.5, 2.0, 1.0]))

    def at(centres, scores):
        boxes = Boxes.around(np.array(centres, dtype=float), np.array([8.0, 2.0]), grid)  # 4 mm: reach 2 mm
        return Detections("v", boxes, np.array(scores), np.zeros(len(scores), dtype=int), ("cell",))

    first = at([[10, 10], [20, 20], [30, 30], [40, 40], [10, 40], [47, 1]], [0.9, 0.8, 0.7, 0.6, 0.3, 0.9])
    second = at([[12, 10], [20, 20.5], [30, 31.5], [40, 40], [10, 40]], [0.85, 0.8, 0.7, 0.4, 0.6])
    plan = ShiftPlan((0, 0), (50, 50), (), np.zeros(2), np.array([45.0, 45]), whole_field=True)
    outcome = _outcome(first, second, plan, (0, -3), 0.5)
    # The third moved by 3 mm, out of reach: it is lost, and there is one that was not there. The fourth fell below the
    # threshold: lost. The fifth was below it and no longer is: appeared. The sixth lies outside of the interior.
    assert sorted(outcome.moved_voxel) == pytest.approx([0, 0.5, 2])
    assert sorted(outcome.moved_unit) == pytest.approx([0, 1, 1])
    assert sorted(outcome.score_change) == pytest.approx([0, 0.05, 0.2])
    assert (outcome.lost, outcome.detections, outcome.appeared) == (2, 4, 2)
    assert (outcome.axis, outcome.shift_voxel) == (0, -3)


def test_figures_of_a_trained_network_are_the_same_each_time_and_small_at_whole_strides(trained):
    one, again = (translation_report(trained.bundle, trained.cases, "cpu") for _ in range(2))
    assert one.to_json() == again.to_json()
    figures = one.metrics()
    assert set(figures) == {
        "translation_shift_voxel", "translation_shift_px", "translation_score_change", "translation_lost",
        "translation_appeared", "translation_detections", "translation_cases",
    }  # fmt: skip
    assert figures["translation_detections"] >= 2
    moved = {row["shift_voxel"]: row["moved_voxel"] for row in one.curve()}
    assert set(moved) == {-4, -3, -2, -1, 1, 2, 3, 4}
    assert max(moved[4], moved[-4]) < 0.2 < moved[1] < 2


def test_the_work_is_bounded_by_that_of_the_training(trained):
    raw = trained.config.model_dump()
    raw["training"]["max_epochs"] = 1000
    patient = dataclasses.replace(trained.bundle, config=ExperimentConfig.model_validate(raw))
    raw["training"]["max_epochs"] = 1
    hasty = dataclasses.replace(trained.bundle, config=ExperimentConfig.model_validate(raw))
    assert translation_report(hasty, trained.cases * 6, "cpu").cases == 3
    told = translation_report(patient, trained.cases * 12, "cpu")
    assert told.detections >= 30
    assert 8 <= told.cases < 24


def test_without_a_detection_there_are_no_figures():
    config = tiny_2d()
    detector = VolumeDetector(Bundle(config, CentreDetector(config), 0.99), "cpu")
    report = translation_of_scan(detector, scan_of([]), np.zeros((0, 2)))
    assert np.isnan(report.metrics()["translation_lost"])
    assert report.metrics()["translation_detections"] == 0
    assert known(report.to_json())["translation_lost"] is None
    assert known(report.to_json())["curve"][0]["moved_voxel"] is None
