import numpy as np
import pytest
import torch

from pipeline.config.transforms import AugmentationConfig
from pipeline.geometry import Boxes, Grid
from pipeline.transforms.augmentation import Augmentation
from tests.phantoms import blob, centre_of_mass

ALL_2D = AugmentationConfig(flip=(0, 1), rotate90=True, scale=0.2)
ALL_3D = AugmentationConfig(flip=(0, 1, 2), rotate90=True, scale=0.2)


@pytest.mark.parametrize(
    ("config", "grid"),
    [
        (ALL_2D, Grid.of_pixels((64, 48))),
        (ALL_3D, Grid((40, 32, 28), np.diag([0.7, 0.8, 1.5, 1.0]))),
    ],
)
def test_boxes_follow_their_object_through_every_transform(config, grid):
    augment = Augmentation(config, grid.dims)
    centre = np.array(grid.shape) / 2 + 2.0
    image = torch.from_numpy(blob(grid.shape, centre, sigma=2.0)[None])
    boxes = Boxes.around(centre[None], np.full((1, grid.dims), 5.0), grid)
    places = set()
    for seed in range(24):
        varied, moved = augment(image, boxes, seed)
        assert moved.centres[0] == pytest.approx(centre_of_mass(varied[0].numpy()), abs=0.15)
        places.add(tuple(moved.centres[0].round(1)))
    assert len(places) > 6


def test_same_seed_same_patch():
    augment = Augmentation(AugmentationConfig(flip=(0, 1), contrast=0.2, noise=0.1, blur=1.0), 2)
    image = torch.rand(3, 32, 32) * 2 - 1
    boxes = Boxes.empty(Grid.of_pixels((32, 32)))
    first, again, other = (augment(image, boxes, seed)[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_patch_without_objects_is_normal():
    boxes = Boxes.empty(Grid.of_pixels((32, 32)))
    _, moved = Augmentation(ALL_2D, 2)(torch.zeros(1, 32, 32), boxes, 3)
    assert len(moved) == 0


def test_no_augmentation_returns_the_patch_itself():
    image = torch.rand(1, 8, 8)
    assert Augmentation(AugmentationConfig(), 2)(image, Boxes.empty(Grid.of_pixels((8, 8))), 0)[0] is image
