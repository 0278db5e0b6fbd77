import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import GeometryError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_lps_to_ras, affine_ras_to_lps, lps_to_ras, ras_to_lps
from tests.phantoms import awkward_grid


def test_first_voxel_centre_is_the_affines_origin():
    grid = awkward_grid()
    assert grid.to_world(np.zeros((1, 3)))[0] == pytest.approx([-12.0, 7.5, 100.0])


def test_world_of_an_oblique_flipped_anisotropic_voxel_by_hand():
    # i steps by R(30)·(0, -0.5, 0) = (0.25, -0.4330, 0); j by R(30)·(2, 0, 0) = (1.7321, 1, 0); k by (0, 0, -3).
    world = awkward_grid().to_world(np.array([[10.0, 4.0, 2.0]]))[0]
    expected = [-12 + 2.5 + 6.9282, 7.5 - 4.3301 + 4.0, 100 - 6.0]
    assert world == pytest.approx(expected, abs=1e-3)


def test_spacing_is_the_step_along_each_array_axis():
    assert awkward_grid().spacing == pytest.approx([0.5, 2.0, 3.0])


def test_crop_keeps_the_world_of_its_voxels():
    grid = awkward_grid()
    part = grid.crop((5, 6, 7), (20, 10, 9))
    assert part.shape == (15, 4, 2)
    assert part.to_world(np.zeros((1, 3))) == pytest.approx(grid.to_world(np.array([[5.0, 6.0, 7.0]])))


def test_resampling_keeps_the_outer_edges():
    grid = Grid((10, 10, 4), np.diag([1.0, 1.0, 5.0, 1.0]))
    fine = grid.resampled((0.5, 2.0, 1.0))
    assert fine.shape == (20, 5, 20)
    low = fine.to_world(np.full((1, 3), -0.5))
    assert low == pytest.approx(grid.to_world(np.full((1, 3), -0.5)))


def test_one_slice_is_a_volume():
    grid = Grid((8, 8, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    assert grid.resampled((1.0, 1.0, 20.0)).shape == (8, 8, 1)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "above 0"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "finite"),
        (np.array([[1.0, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "orthogonal"),
    ],
)
def test_impossible_geometry_is_refused_with_its_numbers(matrix, reason):
    with pytest.raises(GeometryError, match=reason):
        Grid((4, 4, 4), matrix)


def test_lps_and_ras_differ_in_the_sign_of_x_and_y():
    assert lps_to_ras(np.array([[1.0, 2.0, 3.0]]))[0].tolist() == [-1.0, -2.0, 3.0]


@given(st.lists(st.floats(-500, 500), min_size=3, max_size=3))
def test_frames_round_trip(point):
    points = np.array([point])
    assert np.array_equal(ras_to_lps(lps_to_ras(points)), points)
    matrix = awkward_grid().affine
    assert affine_ras_to_lps(affine_lps_to_ras(matrix)) == pytest.approx(matrix)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3))
def test_voxel_world_round_trip(point):
    grid = awkward_grid()
    points = np.array([point])
    assert grid.to_voxel(grid.to_world(points)) == pytest.approx(points, abs=1e-9)
