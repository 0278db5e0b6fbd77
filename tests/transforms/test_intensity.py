import numpy as np
import pytest
import torch

from pipeline.config.transforms import AugmentationConfig
from pipeline.transforms.intensity import vary_intensity
from pipeline.transforms.stain import vary_stain
from pipeline.transforms.variation import Intensity, draw_variation


def intensity(**given) -> Intensity:
    off = {"dye_gain": None, "dye_shift": None, "gamma": 1.0, "gain": (1.0,), "shift": (0.0,), "blur": (0.0, 0.0)}
    return Intensity(**(off | {"noise": 0.0, "noise_seed": 0} | given))


def light(*shares) -> torch.Tensor:
    return torch.tensor(shares).view(3, 1, 1) * 2 - 1


def test_nothing_drawn_returns_the_patch_itself():
    image = torch.rand(1, 8, 8)
    assert vary_intensity(image, intensity()) is image


@pytest.mark.parametrize(
    "drawn",
    [{"gamma": 2.0}, {"gain": (1.5,)}, {"shift": (0.3,)}, {"blur": (1.0, 0.5)}, {"noise": 0.1}],
    ids=str,
)
def test_a_varied_patch_is_another_and_leaves_the_given_one_alone(drawn):
    image = torch.rand(1, 16, 16) * 2 - 1
    before = image.clone()
    varied = vary_intensity(image, intensity(**drawn))
    assert torch.equal(image, before)
    assert not torch.equal(varied, image)
    assert torch.equal(varied, vary_intensity(image, intensity(**drawn)))


def test_gamma_takes_a_value_a_rounding_below_the_range():
    image = torch.tensor([[[-1.0000001, 0.0, 1.0]]])
    assert vary_intensity(image, intensity(gamma=0.5)).flatten().tolist() == pytest.approx([-1.0, 2**0.5 - 1, 1.0])


def test_gamma_leaves_both_ends_and_gain_stays_in_range():
    image = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 3)
    assert vary_intensity(image, intensity(gamma=2.0)).flatten().tolist() == [-1.0, -0.5, 1.0]
    assert vary_intensity(image, intensity(gain=(3.0,), shift=(0.1,))).flatten().tolist() == pytest.approx([-1, 0.1, 1])


def test_blur_darkens_no_border():
    image = torch.full((2, 9, 9), 0.7)
    torch.testing.assert_close(vary_intensity(image, intensity(blur=(1.0, 2.0))), image, atol=1e-4, rtol=0)


def test_stain_without_change_is_the_image():
    image = torch.rand(3, 6, 6) * 1.98 - 0.98
    torch.testing.assert_close(vary_stain(image, (1.0, 1.0), (0.0, 0.0)), image, atol=1e-5, rtol=0)


def test_gain_of_a_dye_deepens_that_dye_alone():
    """By hand: a density d of a dye lets through exp(-d * its red, green and blue)."""
    haematoxylin, eosin = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
    haematoxylin, eosin = haematoxylin / np.linalg.norm(haematoxylin), eosin / np.linalg.norm(eosin)
    once = light(*np.exp(-0.8 * haematoxylin - 0.5 * eosin)).float()
    more = light(*np.exp(-1.2 * haematoxylin - 0.5 * eosin)).float()
    torch.testing.assert_close(vary_stain(once, (1.5, 1.0), (0.0, 0.0)), more, atol=1e-5, rtol=0)
    torch.testing.assert_close(vary_stain(once, (1.0, 1.0), (0.4, 0.0)), more, atol=1e-5, rtol=0)
    white = light(1.0, 1.0, 1.0)
    torch.testing.assert_close(vary_stain(white, (1.5, 0.6), (0.0, 0.0)), white)
    assert torch.isfinite(vary_stain(light(0.0, 0.0, 0.0), (1.5, 0.5), (0.1, 0.1))).all()


def test_one_kind_more_leaves_what_is_drawn_of_the_others():
    few = draw_variation(AugmentationConfig(flip=(0, 1), contrast=0.2, noise=0.1), 2, 3, 5)
    many = AugmentationConfig(flip=(0, 1), contrast=0.2, noise=0.1, rotation=30, elastic=1, stain=0.1, blur=1, gamma=1)
    more = draw_variation(many, 2, 3, 5)
    assert (more.geometry.flips, more.intensity.gain) == (few.geometry.flips, few.intensity.gain)
    assert (more.intensity.noise, more.intensity.noise_seed) == (few.intensity.noise, few.intensity.noise_seed)
    assert few == draw_variation(AugmentationConfig(flip=(0, 1), contrast=0.2, noise=0.1), 2, 3, 5)
    assert -30 <= more.geometry.rotation_degrees <= 30
    assert more.geometry.rotation_degrees != 0


def test_every_kind_is_drawn_within_its_strength():
    config = AugmentationConfig(
        flip=(1,),
        rotate90=True,
        rotation=15,
        scale=0.2,
        elastic=2,
        stain=0.1,
        gamma=0.5,
        contrast=0.2,
        noise=0.1,
        blur=1,
    )
    drawn = [draw_variation(config, 2, 3, seed) for seed in range(300)]
    assert {one.geometry.flips for one in drawn} == {(False, False), (False, True)}
    assert {one.geometry.quarter_turns for one in drawn} == {0, 1, 2, 3}
    for values, low, high in (
        ([one.geometry.rotation_degrees for one in drawn], -15, 15),
        ([zoom for one in drawn for zoom in one.geometry.zoom], 0.8, 1.2),
        ([gain for one in drawn for gain in one.intensity.dye_gain], 0.9, 1.1),
        ([one.intensity.gamma for one in drawn], 1 / 1.5, 1.5),
        ([gain for one in drawn for gain in one.intensity.gain], 0.8, 1.2),
        ([one.intensity.noise for one in drawn], 0, 0.1),
    ):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high >= max(values) > high - 0.1 * (high - low)
    assert 100 < sum(one.geometry.elastic > 0 for one in drawn) < 200
