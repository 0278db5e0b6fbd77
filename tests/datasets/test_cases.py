import numpy as np
import pytest

from pipeline.config.data import DataConfig, RandomOffsetWindows
from pipeline.datasets.cases import Case, make_cases
from pipeline.geometry import Boxes, Grid
from tests.phantoms import awkward_grid, volume_with


def crop_with_lesion_at_centre(folder, seed=0, size=10.0):
    grid = Grid((44, 44, 8), np.diag([0.7, 0.7, 2.5, 1.0]))
    rng = np.random.default_rng(seed)
    box = Boxes.around(np.array([[21.5, 21.5, 3.5]]), np.array([[size, size, 4.0]]), grid)
    return volume_with(folder, rng.normal(size=(1, 44, 44, 8)).astype(np.float32), grid, box)


def config(**cases):
    return DataConfig(source="x", dims=3, classes=("lesion",), cases=RandomOffsetWindows(**cases))


def test_a_window_keeps_the_world_of_its_lesion(tmp_path):
    grid = awkward_grid()
    box = Boxes.around(np.array([[20.0, 10.0, 8.0]]), np.array([[4.0, 3.0, 2.0]]), grid)
    volume = volume_with(tmp_path, np.zeros((1, *grid.shape), np.int16), grid, box)
    case = Case("c", volume, (10, 4, 2), (38, 20, 14))
    assert case.array.shape == (1, 28, 16, 12)
    assert case.annotations.boxes.centres_world == pytest.approx(box.centres_world)


def test_an_object_whose_centre_lies_outside_the_window_is_ignored_and_a_far_one_is_gone(tmp_path):
    grid = Grid.of_pixels((40, 40))
    boxes = Boxes.around(np.array([[5.0, 5.0], [21.0, 5.0], [35.0, 35.0]]), np.full((3, 2), 6.0), grid)
    volume = volume_with(tmp_path, np.zeros((1, 40, 40), np.uint8), grid, boxes)
    annotations = Case("c", volume, (0, 0), (20, 20)).annotations
    assert annotations.ignore.tolist() == [False, True]


def test_lesion_lies_anywhere_in_its_window_and_wholly_inside(tmp_path):
    places = []
    for seed in range(20):
        volume = crop_with_lesion_at_centre(tmp_path, seed)
        case = make_cases(config(), [volume], seed=0)[0]
        box = case.annotations.boxes
        assert (box.lower >= -0.5).all()
        assert (box.upper <= np.array(case.grid.shape) - 0.5).all()
        places.append(box.centres[0, :2] - (np.array(case.grid.shape[:2]) - 1) / 2)
    assert np.std(places, axis=0).min() > 2


def test_the_window_beside_holds_no_lesion_voxel(tmp_path):
    volume = crop_with_lesion_at_centre(tmp_path)
    beside = make_cases(config(), [volume], seed=0)[1]
    assert len(beside.annotations) == 0
    assert min(beside.grid.shape[:2]) >= 10


def test_a_lesion_that_fills_its_crop_gives_no_window_beside(tmp_path):
    volume = crop_with_lesion_at_centre(tmp_path, size=40.0)
    assert len(make_cases(config(), [volume], seed=0)) == 1


def test_windows_are_the_same_each_time(tmp_path):
    volume = crop_with_lesion_at_centre(tmp_path)
    first, again, other = (make_cases(config(), [volume], seed=s)[0].lower for s in (0, 0, 3))
    assert first == again
    assert first != other


def test_windows_stay_inside_a_volume_that_its_boxes_leave(tmp_path):
    grid = Grid((40, 40, 8), np.eye(4))
    for lower, upper in (([-3, -2, -1], [12, 12, 4]), ([30, 30, 5], [44, 43, 9])):
        box = Boxes(np.array([lower]) - 0.5, np.array([upper]) + 0.5, grid)
        volume = volume_with(tmp_path, np.zeros((1, 40, 40, 8), np.int16), grid, box)
        for seed in range(20):
            for case in make_cases(config(), [volume], seed):
                assert case.array.shape[1:] == case.grid.shape
                assert min(case.lower) >= 0
