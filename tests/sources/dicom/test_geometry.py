import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.errors import GeometryError
from pipeline.sources.dicom.geometry import SlicePlace, order, stack

SPACING = st.floats(0.1, 10.0)
COORDINATE = st.floats(-500.0, 500.0)


def _places(rotation, spacing, first, count, mirrored=False):
    """Slices ``step`` apart along the normal; ``rotation`` holds row, column and normal direction as columns."""
    row, column = rotation[:, 0], rotation[:, 1] * (-1 if mirrored else 1)
    normal = np.cross(row, column)
    return [
        SlicePlace(
            tuple(first + k * spacing[2] * normal), tuple(row), tuple(column), (spacing[0], spacing[1]), (7, 5), 1.0
        )
        for k in range(count)
    ]


@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(SPACING, SPACING, SPACING),
    first=st.tuples(COORDINATE, COORDINATE, COORDINATE),
    mirrored=st.booleans(),
)
def test_any_orientation_puts_each_pixel_where_its_own_slice_says(turn, spacing, first, mirrored):
    rotation = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    places = _places(rotation, spacing, np.array(first), 4, mirrored)
    grid = stack(places)
    assert grid.shape == (7, 5, 4)
    np.testing.assert_allclose(grid.spacing, spacing, rtol=1e-6)
    for k, place in enumerate(places):
        # PS3.3 C.7.6.2.1.1 for pixel (i, j) = (6, 3), then LPS to RAS by the two signs.
        lps = (
            np.array(place.position_lps)
            + 6 * spacing[0] * np.array(place.row_lps)
            + 3 * spacing[1] * np.array(place.column_lps)
        )
        np.testing.assert_allclose(grid.to_world(np.array([[6.0, 3.0, k]]))[0], lps * [-1, -1, 1], atol=1e-6)


def test_slices_are_ordered_along_their_normal():
    places = _places(np.eye(3), (1.0, 1.0, 2.5), np.zeros(3), 4)
    assert order([places[2], places[0], places[3], places[1]]) == [1, 3, 0, 2]


def test_positions_rounded_in_the_header_are_accepted_and_bent_stacks_are_not():
    places = _places(np.eye(3), (0.7, 0.7, 2.5), np.zeros(3), 5)
    rounded = [_moved(place, 0.004 * (-1) ** n) for n, place in enumerate(places)]
    assert stack(rounded).shape == (7, 5, 5)
    bent = [*places[:2], _moved(places[2], 1.0, axis=0), *places[3:]]
    with pytest.raises(GeometryError, match=r"a slice lies 1\.000 mm beside its place"):
        stack(bent)


def _moved(place, by_mm, axis=2):
    position = np.array(place.position_lps)
    position[axis] += by_mm
    return SlicePlace(tuple(position), place.row_lps, place.column_lps, place.spacing, place.shape, place.thickness)
