import numpy as np
import pytest

from pipeline.inference.lattice import sampled


class Numbered:
    """A picture whose pixels are their own numbers, as long as nobody asks for much of it."""

    dtype, ndim = np.dtype(np.int64), 3

    def __init__(self, shape):
        self.shape = (1, *shape)

    def __getitem__(self, region):
        _, i, j = region
        rows = (np.arange(*one.indices(n)) for one, n in zip((i, j), self.shape[1:], strict=True))
        column, row = np.meshgrid(*rows, indexing="ij")
        return (column * self.shape[2] + row)[None]


@pytest.mark.parametrize(
    ("shape", "count"),
    [((40_000, 40_000), 256 * 64 * 64), ((1024, 130), 32 * 64 * 64), ((100, 100), 64 * 64), ((30, 5000), 30 * 16 * 64)],
)
def test_no_pixel_is_in_a_sample_twice_and_all_parts_of_the_picture_are(shape, count):
    pixels = sampled(Numbered(shape))
    assert pixels.shape == (1, count)
    assert len(np.unique(pixels)) == count
    middles = np.array(np.unravel_index(pixels[0], shape)).mean(axis=1)
    assert middles == pytest.approx((np.array(shape) - 1) / 2, abs=1)
