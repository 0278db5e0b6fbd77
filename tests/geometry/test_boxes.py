import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import Boxes, Grid
from tests.phantoms import awkward_grid, rotation_about_z


def one_voxel(grid: Grid) -> Boxes:
    return Boxes.around(np.array([[5.0] * grid.dims]), np.ones((1, grid.dims)), grid)


def test_a_one_voxel_lesion_covers_half_a_voxel_to_each_side():
    box = one_voxel(awkward_grid())
    assert box.lower.tolist() == [[4.5, 4.5, 4.5]]
    assert box.sizes_world[0] == pytest.approx([0.5, 2.0, 3.0])


def test_label_map_gives_one_box_a_label():
    labels = np.zeros((6, 6), dtype=np.int32)
    labels[1, 2] = 1
    labels[3:5, 0:3] = 7
    boxes, values = Boxes.from_label_map(labels, Grid.of_pixels((6, 6)))
    assert values.tolist() == [1, 7]
    assert boxes.lower.tolist() == [[0.5, 1.5], [2.5, -0.5]]
    assert boxes.upper.tolist() == [[1.5, 2.5], [4.5, 2.5]]


def test_all_corners_go_through_an_oblique_affine():
    # A 10 x 2 bar turned by 45 degrees is (10 + 2) / sqrt(2) wide; two of its corners alone would give 8 / sqrt(2).
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about_z(45)
    grid = Grid((30, 30, 30), matrix)
    bar = Boxes.around(np.array([[10.0, 10.0, 10.0]]), np.array([[10.0, 2.0, 1.0]]), grid)
    lower, upper = bar.bounds_world
    assert (upper - lower)[0] == pytest.approx([12 / np.sqrt(2), 12 / np.sqrt(2), 1.0])


def test_moving_to_a_parallel_grid_and_back_changes_nothing():
    grid = awkward_grid()
    fine = grid.resampled((1.0, 1.0, 1.0))
    box = Boxes(np.array([[3.2, 4.0, 1.5]]), np.array([[9.0, 8.25, 6.5]]), grid)
    back = box.to(fine).to(grid)
    assert back.lower == pytest.approx(box.lower)
    assert back.upper == pytest.approx(box.upper)
    assert box.to(fine).sizes_world[0] == pytest.approx(box.sizes_world[0])


def test_iou_of_half_overlapping_boxes():
    grid = Grid.of_pixels((20, 20))
    a = Boxes(np.array([[0.0, 0.0]]), np.array([[4.0, 4.0]]), grid)
    b = Boxes(np.array([[2.0, 0.0], [10.0, 10.0]]), np.array([[6.0, 4.0], [11.0, 11.0]]), grid)
    assert a.iou(b)[0] == pytest.approx([8 / 24, 0.0])


def test_no_boxes_are_normal():
    grid = awkward_grid()
    empty = Boxes.empty(grid)
    assert len(empty.to(grid.resampled((1.0, 1.0, 1.0)))) == 0
    assert empty.iou(one_voxel(grid)).shape == (0, 1)


def test_a_box_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="ends before it starts"):
        Boxes(np.array([[2.0, 2.0]]), np.array([[1.0, 3.0]]), Grid.of_pixels((5, 5)))


@given(st.floats(0.2, 3), st.floats(0.2, 3), st.floats(1, 20))
def test_world_bounds_of_any_box_hold_its_centre(spacing_i, spacing_k, size):
    grid = Grid((32, 32, 32), awkward_grid().affine @ np.diag([spacing_i, 1.0, spacing_k, 1.0]))
    box = Boxes.around(np.array([[8.0, 9.0, 10.0]]), np.full((1, 3), size), grid)
    lower, upper = box.bounds_world
    assert (lower <= box.centres_world).all()
    assert (upper >= box.centres_world).all()
