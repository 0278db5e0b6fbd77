import numpy as np
import pytest
import torch
from monai.transforms import ScaleIntensityRangePercentiles

from pipeline.config.transforms import Percentiles, PreprocessingConfig, Window
from pipeline.errors import DatasetError
from pipeline.geometry import Grid
from pipeline.transforms.preprocessing import cache_key, network_grid, prepare
from tests.phantoms import awkward_grid, blob, centre_of_mass

UNIT = Window(lower=0, upper=1)


def test_oblique_flipped_anisotropic_volume_keeps_its_lesion_in_the_world():
    grid = awkward_grid()
    at = np.array([22.0, 11.0, 8.0])
    image = blob(grid.shape, at, sigma=3.0)[None]
    prepared = prepare(image, grid, PreprocessingConfig(spacing=(1.0, 1.0, 1.0), intensity=UNIT))
    assert prepared.grid.spacing == pytest.approx([1, 1, 1])
    weight = (prepared.image[0].numpy() + 1) / 2
    weight[weight < 0.05] = 0
    found = prepared.grid.to_world(centre_of_mass(weight)[None])[0]
    assert found == pytest.approx(grid.to_world(at[None])[0], abs=0.15)


def test_axes_come_out_nearest_to_right_front_head():
    out = network_grid(awkward_grid(), PreprocessingConfig(intensity=UNIT))
    assert (np.diag(out.affine)[:3] > 0).all()
    assert sorted(out.shape) == sorted(awkward_grid().shape)


def test_a_field_that_needs_no_change_keeps_its_grid():
    grid = Grid.of_pixels((12, 9))
    assert network_grid(grid, PreprocessingConfig(intensity=UNIT)) is grid


def test_hounsfield_window_maps_to_minus_one_and_one():
    image = np.array([[-2000, -1000, -300, 400, 3000]], dtype=np.int16)[None]
    grid = Grid.of_pixels((1, 5))
    out = prepare(image, grid, PreprocessingConfig(intensity=Window(lower=-1000, upper=400))).image
    assert out.flatten().tolist() == pytest.approx([-1, -1, 0, 1, 1])


def test_a_constant_image_is_zero_and_not_nan():
    image = np.full((1, 8, 8), 7, dtype=np.uint8)
    out = prepare(image, Grid.of_pixels((8, 8)), PreprocessingConfig(intensity=Percentiles())).image
    assert out.abs().max() == 0


def test_an_image_of_nearly_one_value_is_stretched_between_its_extremes():
    image = np.zeros((1, 64, 64), dtype=np.uint16)
    image[0, 30, 30:33] = [100, 30000, 60000]  # less than the two in a thousand above the upper percentile
    out = prepare(image, Grid.of_pixels((64, 64)), PreprocessingConfig(intensity=Percentiles())).image
    assert out[0, 0, 0] == -1
    assert out[0, 30, 31:33].tolist() == [0, 1]


def test_grey_is_repeated_and_colour_averaged():
    grid = Grid.of_pixels((4, 4))
    grey, colour = np.ones((1, 4, 4), np.uint8), np.stack([np.full((4, 4), v, np.float32) for v in (0, 0.5, 1)])
    assert prepare(grey, grid, PreprocessingConfig(channels=3, intensity=UNIT)).image.shape == (3, 4, 4)
    assert prepare(colour, grid, PreprocessingConfig(channels=1, intensity=UNIT)).image.abs().max() < 1e-6


def test_channels_that_cannot_be_made_are_refused():
    with pytest.raises(DatasetError, match="channels is 3 and the image has 2"):
        prepare(np.zeros((2, 4, 4)), Grid.of_pixels((4, 4)), PreprocessingConfig(channels=3, intensity=UNIT))


def test_cache_key_changes_with_every_setting_and_with_the_source():
    plain = PreprocessingConfig(intensity=UNIT)
    keys = {
        cache_key("a", plain),
        cache_key("b", plain),
        cache_key("a", PreprocessingConfig(intensity=Window(lower=0, upper=2))),
        cache_key("a", PreprocessingConfig(intensity=UNIT, channels=3)),
        cache_key("a", PreprocessingConfig(intensity=UNIT, spacing=(1.0, 1.0))),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_those_of_monai(seed):
    image = np.random.default_rng(seed).normal(90, 40, (1, 61, 47)).clip(0, 255).astype(np.uint8)
    config = PreprocessingConfig(intensity=Percentiles())
    theirs = ScaleIntensityRangePercentiles(1.0, 99.8, -1.0, 1.0, clip=True)(torch.from_numpy(image.astype(np.float32)))
    ours = prepare(image, Grid.of_pixels((61, 47)), config).image
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=0, atol=1e-5)
