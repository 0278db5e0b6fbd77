import io

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.geometry import Grid
from pipeline.reporting.encoding import encode_image, nearest


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(data)))


def volume(shape: tuple[int, int, int]) -> tuple[np.ndarray, Grid]:
    rng = np.random.default_rng(0)
    return rng.integers(-1000, 1000, (1, *shape)).astype(np.int16), Grid(shape, np.diag([-1.0, -1.0, 1.0, 1.0]))


def test_a_small_volume_is_stored_without_loss_in_the_directions_of_the_reader():
    image, grid = volume((6, 5, 3))
    encoded = encode_image(image, grid, (-500, 500), 100_000)
    low, high = encoded.scale.first, encoded.scale.last
    assert encoded.exact
    assert (encoded.size, encoded.slices, encoded.kind) == ((6, 5), (0, 1, 2), "image/png")
    levels = np.round((np.clip(image[0, :, :, 1], low, high) - low) / (high - low) * 255).T
    np.testing.assert_array_equal(decoded(encoded.planes[1]), levels)


def test_axes_that_run_towards_the_right_or_front_are_shown_backwards():
    image, grid = volume((6, 5, 2))
    turned = Grid(grid.shape, np.diag([1.0, -1.0, 1.0, 1.0]))
    usual, backwards = (encode_image(image, one, (-500, 500), 100_000) for one in (grid, turned))
    np.testing.assert_array_equal(decoded(backwards.planes[0]), decoded(usual.planes[0])[:, ::-1])


def test_what_does_not_fit_is_given_up_in_order_and_stays_within_the_limit():
    image, grid = volume((300, 200, 60))
    kinds = []
    for limit in (10_000_000, 2_900_000, 1_200_000, 200_000):
        encoded = encode_image(image, grid, (-1000, 1000), limit, [10])
        assert encoded.bytes <= limit
        kinds.append((encoded.kind, encoded.size[0], len(encoded.slices)))
    assert kinds[0] == ("image/png", 300, 60)
    assert kinds[1] == ("image/jpeg", 300, 60)
    assert kinds[2][:2] == ("image/jpeg", 256) or kinds[2][2] < 60
    assert kinds[3][1] == 256
    assert 0 < kinds[3][2] < 60


def test_kept_slices_lie_about_the_findings():
    assert nearest([2, 17], 20, 6) == [1, 2, 3, 16, 17, 18]
    assert nearest([], 9, 3) == [3, 4, 5]
    assert nearest([5], 9, 20) == list(range(9))
    image, grid = volume((200, 200, 40))
    encoded = encode_image(image, grid, (-1000, 1000), 200_000, [30])
    assert 30 in encoded.slices
    assert encoded.slices == tuple(range(encoded.slices[0], encoded.slices[-1] + 1))


def test_nothing_fits_into_no_bytes():
    image, grid = volume((50, 50, 4))
    assert encode_image(image, grid, (-1000, 1000), 10) is None
    assert encode_image(image[..., 0], Grid.of_pixels((50, 50)), (-1000, 1000), 10) is None


def test_a_field_keeps_its_colours_and_is_made_smaller_where_it_must():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (3, 800, 600)).astype(np.uint8)
    grid = Grid.of_pixels((800, 600))
    whole = encode_image(image, grid, (0, 255), 3_000_000)
    np.testing.assert_array_equal(decoded(whole.planes[0]), image.transpose(2, 1, 0))
    small = encode_image(image, grid, (0, 255), 150_000)
    assert small.size == (512, 384)
    assert small.full == (800, 600, 1)


@pytest.mark.parametrize("values", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_stored(values):
    image = np.zeros((1, 4, 4, 2), np.float32)
    image[0, 0, 0, 0] = values
    assert encode_image(image, Grid((4, 4, 2), np.eye(4)), (0, 1), 10_000) is not None
