import numpy as np
import pytest
import torch

from pipeline.config.transforms import PreprocessingConfig, Window
from pipeline.geometry import Grid
from pipeline.transforms.along import Along
from pipeline.transforms.preprocessing import along, needed, prepare, prepare_region

CPU = torch.device("cpu")


def made(values, ratio, region):
    step = Along.of(len(values), ratio, region)
    return step.of_source(torch.tensor(values[step.source]), 0).tolist()


def test_steps_twice_as_long_take_the_middle_of_two():
    assert made([0.0, 10.0, 20.0, 30.0], 2.0, slice(0, 2)) == [5.0, 25.0]


def test_steps_half_as_long_lie_a_quarter_off_and_repeat_the_border():
    assert made([0.0, 10.0, 20.0], 0.5, slice(0, 6)) == [0.0, 2.5, 7.5, 12.5, 17.5, 20.0]


def test_a_region_reads_no_more_than_it_needs():
    assert Along.of(1000, 2.0, slice(100, 102)).source == slice(200, 204)
    assert Along.of(4, 2.0, slice(1, 2)).source == slice(2, 4)


@pytest.mark.parametrize(("stored", "channels"), [(1, 1), (3, 3), (3, 1), (1, 3)])
@pytest.mark.parametrize("spacing", [(0.0005, 0.0005), (0.0008, 0.0003), (0.00021, 0.0019)])
def test_any_region_of_a_picture_is_as_in_the_whole_to_the_bit(stored, channels, spacing):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (stored, 203, 151), dtype=np.uint8)
    grid = Grid((203, 151), np.diag([0.0005, 0.0005, 1.0]))
    config = PreprocessingConfig(spacing=spacing, channels=channels, intensity=Window(lower=0, upper=255))
    whole = prepare(image, grid, config)
    for _ in range(10):
        low = [int(rng.integers(0, n - 1)) for n in whole.grid.shape]
        region = tuple(slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(low, whole.grid.shape, strict=True))
        steps = along(grid, whole.grid, region)
        piece = prepare_region(needed(image, steps), steps, config, CPU)
        assert torch.equal(piece, whole.image[(slice(None), *region)])


@pytest.mark.parametrize("ratio", [0.5, 2.0, 4.0, 7.0])
def test_a_ramp_stays_the_same_ramp_in_the_world(ratio):
    ramp = np.broadcast_to(np.arange(140.0), (1, 56, 140))
    grid = Grid((56, 140), np.diag([0.5, 0.5, 1.0]))
    config = PreprocessingConfig(spacing=(0.5 * ratio,) * 2, intensity=Window(lower=0, upper=140))
    made = prepare(ramp, grid, config)
    places = made.grid.to_world(np.array([[0.0, float(n)] for n in range(made.grid.shape[1])]))
    expected = np.clip(grid.to_voxel(places)[:, 1], 0, 139)
    assert (made.image[0, 0].numpy() + 1) * 70 == pytest.approx(expected, abs=1e-3)
