"""Where a patch's voxels come from: objects, boxes and the world go along with the image."""

import numpy as np
import pytest
import torch

from pipeline.config.transforms import AugmentationConfig
from pipeline.geometry import Boxes, Grid
from pipeline.transforms.placement import Placement
from pipeline.transforms.variation import Geometry, draw_variation
from tests.phantoms import blob, centre_of_mass, rotation_about_z

OFF = {"flips": (False, False), "quarter_turns": 0, "rotation_degrees": 0.0, "zoom": (1.0, 1.0)}
OFF |= {"elastic": 0.0, "elastic_seed": 0}


def geometry(**given) -> Geometry:
    return Geometry(**(OFF | given))


def oblique(shape, spacing) -> Grid:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about_z(30) @ np.diag(spacing)
    matrix[:3, 3] = [5.0, -7.0, 30.0]
    return Grid(shape, matrix)


PLANE, VOLUME = Grid((120, 110), np.diag([0.7, 0.7, 1.0])), oblique((70, 80, 40), [0.8, 0.8, 2.0])
UNEVEN = oblique((70, 80, 40), [0.8, -1.2, 2.0])
EACH = [{"flip": (0, 1)}, {"rotate90": True}, {"scale": 0.3}, {"rotation": 180.0}, {"elastic": 1.5}]
TOGETHER = {key: value for one in EACH for key, value in one.items()}


def shown(image: np.ndarray, placement: Placement) -> torch.Tensor:
    lower, upper = placement.region(image.shape)
    region = image[tuple(slice(low, up) for low, up in zip(lower, upper, strict=True))]
    return placement.image(torch.from_numpy(np.ascontiguousarray(region))[None], lower)[0]


@pytest.mark.parametrize("config", [*EACH, TOGETHER], ids=str)
@pytest.mark.parametrize(("grid", "patch"), [(PLANE, (48, 48)), (VOLUME, (32, 32, 14)), (UNEVEN, (32, 32, 14))])
def test_centres_stay_on_their_object(grid, patch, config):
    middle = np.array(grid.shape) / 2
    object_at = middle + np.array([4.3, -3.6, 1.2])[: grid.dims]
    image = blob(grid.shape, object_at, sigma=1.3)
    boxes = Boxes.around(object_at[None], np.full((1, grid.dims), 5.0), grid)
    places = set()
    for seed in range(12):
        drawn = draw_variation(AugmentationConfig(**config), grid.dims, 1, seed).geometry
        placement = Placement.of(drawn, patch, grid.spacing).centred(middle)
        moved = placement.boxes(boxes)
        seen = centre_of_mass(shown(image, placement).numpy())
        assert moved.centres[0] == pytest.approx(seen, abs=0.3 if "elastic" in config else 0.1)
        if not drawn.elastic:
            np.testing.assert_allclose(moved.centres_world, boxes.centres_world, atol=1e-9)
        places.add(tuple(moved.centres[0].round(2)))
    assert len(places) > 3


@pytest.mark.parametrize(("grid", "patch"), [(PLANE, (40, 30)), (UNEVEN, (30, 22, 11))])
def test_every_voxel_shows_its_place_in_the_world(grid, patch):
    """The image is a ramp through the world, so that linear interpolation is exact."""
    ramp = np.array([0.3, -0.2, 0.1])[: grid.dims]
    every = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, grid.dims)
    image = (grid.to_world(every.astype(float)) @ ramp).reshape(grid.shape).astype(np.float32)
    for degrees, zoom in [(0.0, 1.0), (45.0, 1.0), (17.0, 1.25), (-160.0, 0.7)]:
        drawn = geometry(
            flips=(True, *(False,) * (grid.dims - 1)), rotation_degrees=degrees, zoom=(zoom, 1.1, 0.9)[: grid.dims]
        )
        placement = Placement.of(drawn, patch, grid.spacing).centred(np.array(grid.shape) / 2)
        found, on = shown(image, placement), placement.grid(grid)
        inside = np.stack(np.meshgrid(*map(np.arange, patch), indexing="ij"), axis=-1).reshape(-1, grid.dims)
        asked = (on.to_world(inside.astype(float)) @ ramp).reshape(patch)
        np.testing.assert_allclose(found.numpy(), asked, atol=2e-3)


def test_flips_and_quarter_turns_only_pick_voxels():
    image = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    cut = image[11:19, 16:24]
    for turns in range(4):
        for flips in [(False, False), (True, False)]:
            placement = Placement.of(geometry(quarter_turns=turns, flips=flips), (8, 8), np.ones(2))
            found = shown(image, placement.centred(np.array([14.5, 19.5]))).numpy()
            asked = np.rot90(cut[::-1] if flips[0] else cut, -turns)
            assert any(np.array_equal(found, one) for one in (asked, np.rot90(asked, 2)))
            assert np.array_equal(found, asked) or turns % 2


def test_beyond_the_volume_the_border_repeats_and_no_object_is_known():
    image = np.arange(12, dtype=np.float32).reshape(4, 3)
    for degrees in (0.0, 1e-9):  # by picking voxels, and by sampling
        placement = Placement.of(geometry(rotation_degrees=degrees), (6, 5), np.ones(2)).centred(np.array([1.5, 1.0]))
        found = shown(image, placement).numpy()
        np.testing.assert_allclose(found, np.pad(image, 1, mode="edge"), atol=1e-4)
        lower, _ = placement.region(image.shape)
        numbers = placement.nearest(image.astype(np.int32), lower, -1)
        assert numbers.tolist() == np.pad(image, 1, constant_values=-1).astype(int).tolist()


def test_a_patch_wholly_outside_repeats_the_nearest_voxel():
    image = np.arange(12, dtype=np.float32).reshape(4, 3)
    placement = Placement.of(geometry(rotation_degrees=10.0), (2, 2), np.ones(2)).centred(np.array([40.0, 40.0]))
    assert shown(image, placement).unique().tolist() == [11.0]


def test_no_more_is_read_than_is_shown():
    placement = Placement.of(geometry(rotation_degrees=45.0), (9, 9), np.ones(2)).centred(np.array([50.0, 50.0]))
    assert placement.region((100, 100)) == ((44, 44), (57, 57))  # 4 times the root of 2 to either side


def test_turning_does_not_inflate_round_objects():
    grid = Grid.of_pixels((60, 60))
    placement = Placement.of(geometry(rotation_degrees=45.0), (40, 40), np.ones(2)).centred(np.array([30.0, 30.0]))
    boxes = Boxes.around(np.array([[30.0, 30.0], [30.0, 30.0]]), np.array([[10.0, 10.0], [8.0, 6.0]]), grid)
    np.testing.assert_allclose(placement.boxes(boxes).sizes, [[10, 10], [50**0.5, 50**0.5]])


def test_boxes_of_turned_unevenly_sampled_planes_have_the_size_of_the_object():
    """A ball of 6 mm, on voxels of 1 x 2 x 3 mm, turned by a right angle, is still 6 x 3 x 2 voxels."""
    grid = oblique((60, 40, 20), [1.0, 2.0, 3.0])
    drawn = geometry(rotation_degrees=90.0, flips=(False,) * 3, zoom=(1.0,) * 3)
    placement = Placement.of(drawn, (20, 20, 8), grid.spacing).centred(np.array([30.0, 20.0, 10.0]))
    boxes = Boxes.around(np.array([[31.0, 22.0, 9.0]]), np.array([[6.0, 3.0, 2.0]]), grid)
    moved = placement.boxes(boxes)
    np.testing.assert_allclose(moved.sizes, [[6, 3, 2]])
    np.testing.assert_allclose(np.sort(moved.grid.spacing), [1, 2, 3])


def test_no_objects_are_normal():
    placement = Placement.of(geometry(rotation_degrees=10.0, elastic=1.0), (8, 8), np.ones(2))
    assert len(placement.boxes(Boxes.empty(PLANE))) == 0
