"""Distances along rays, against shapes whose edge is known by hand."""

import numpy as np
import pytest
import torch

from pipeline.detectors import rays as rays_module
from pipeline.detectors.rays import directions, ray_lengths

RAYS = 32


def lengths(instances, at, owner=1, rays=RAYS):
    found, cut = ray_lengths(
        torch.as_tensor(np.asarray(instances, np.int32)), torch.tensor([at]), torch.tensor([owner]), rays
    )
    return found[0].numpy(), cut[0].numpy()


def rectangle(i, j, shape=(40, 30), value=1):
    """Pixels ``i[0] … i[1]`` and ``j[0] … j[1]``, both inclusive."""
    drawn = np.zeros(shape, np.int32)
    drawn[i[0] : i[1] + 1, j[0] : j[1] + 1] = value
    return drawn


def to_sides(before_i, after_i, before_j, after_j):
    """Length of each ray inside a rectangle, from the distances to its four sides."""
    way = directions(RAYS)
    to_i = np.where(way[:, 0] > 0, after_i, before_i) / np.abs(way[:, 0])
    return np.minimum(to_i, np.where(way[:, 1] > 0, after_j, before_j) / np.abs(way[:, 1]))


def test_rays_have_length_one_avoid_the_axes_and_are_the_same_after_flips_and_quarter_turns():
    way = directions(RAYS)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1)
    assert np.abs(way).min() > 0.09  # sin(5.625 degrees)
    for turned in (way * [-1, 1], way * [1, -1], way[:, ::-1]):
        distance = np.linalg.norm(turned[:, None] - way[None], axis=2)
        assert distance.min(axis=1).max() < 1e-12


def test_from_a_pixels_centre_the_sides_of_a_rectangle_are_half_pixels_away():
    found, cut = lengths(rectangle((10, 20), (12, 18)), (15.0, 15.0))  # edges at 9.5, 20.5, 11.5, 18.5
    np.testing.assert_allclose(found, to_sides(5.5, 5.5, 3.5, 3.5), rtol=1e-6)
    assert not cut.any()


def test_from_between_pixels_the_sides_are_whole_pixels_away():
    found, _ = lengths(rectangle((10, 20), (12, 18)), (15.5, 15.5))
    np.testing.assert_allclose(found, to_sides(6, 5, 4, 3), rtol=1e-6)


def test_a_disc_is_as_wide_as_it_was_drawn():
    i, j = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
    found, _ = lengths((i - 40) ** 2 + (j - 40) ** 2 <= 20.5**2, (40.0, 40.0))
    assert np.abs(found - 20.5).max() < 0.75
    assert abs(found.mean() - 20.5) < 0.25


def test_the_opening_of_a_c_ends_a_ray_and_what_lies_behind_it_is_not_reached():
    drawn = rectangle((5, 24), (5, 24))
    drawn[10:20, 10:25] = 0  # open towards high j: what is left is a C, its back at j 5 … 9
    found, _ = lengths(drawn, (15.0, 7.0))
    way = directions(RAYS)
    along_j = int(np.argmax(way[:, 1]))  # 5.6 degrees off the axis: i stays within 10 … 19
    assert found[along_j] == pytest.approx(2.5 / way[along_j, 1])
    into_the_arm = int(np.argmin(np.abs(way - [np.cos(0.4909), np.sin(0.4909)]).sum(axis=1)))  # 28.125 degrees
    # It passes the opening's corner at (19.5, 9.5): at j 9.5 it is at i 15 + 2.5 / tan = 19.68, in the arm.
    assert found[into_the_arm] == pytest.approx(9.5 / way[into_the_arm, 0])


def test_touching_objects_end_each_others_rays():
    drawn = rectangle((10, 19), (5, 14)) + rectangle((20, 29), (5, 14), value=2)
    left, _ = lengths(drawn, (14.5, 9.5))
    right, _ = lengths(drawn, (24.5, 9.5), owner=2)
    np.testing.assert_allclose(left, to_sides(5, 5, 5, 5), rtol=1e-6)
    np.testing.assert_allclose(right, to_sides(5, 5, 5, 5), rtol=1e-6)


def test_an_object_that_the_patch_cuts_has_rays_that_say_at_least():
    found, cut = lengths(rectangle((30, 39), (10, 19)), (37.5, 14.5))  # the patch ends at 39.5
    np.testing.assert_allclose(found, to_sides(8, 2, 5, 5), rtol=1e-6)
    way = directions(RAYS)
    np.testing.assert_array_equal(cut, (way[:, 0] > 0) & (2 / np.abs(way[:, 0]) < 5 / np.abs(way[:, 1])))


def test_voxels_that_are_not_known_cut_like_the_patchs_edge():
    drawn = rectangle((10, 19), (10, 19))
    drawn[:, 18:] = -1
    found, cut = lengths(drawn, (14.5, 14.5))
    np.testing.assert_allclose(found, to_sides(5, 5, 5, 3), rtol=1e-6)
    assert cut.any()
    assert not cut[directions(RAYS)[:, 1] < 0].any()


def test_a_one_pixel_object_reaches_half_a_pixel():
    found, _ = lengths(rectangle((7, 7), (9, 9)), (7.0, 9.0))
    np.testing.assert_allclose(found, to_sides(0.5, 0.5, 0.5, 0.5), rtol=1e-6)


def test_from_a_one_pixel_objects_corner_only_a_quarter_of_the_rays_is_in_it():
    found, _ = lengths(rectangle((7, 7), (9, 9)), (7.5, 9.5))
    way = directions(RAYS)
    inside = (way < 0).all(axis=1)
    np.testing.assert_allclose(found[inside], (1 / np.abs(way).max(axis=1))[inside], rtol=1e-6)
    assert inside.sum() == RAYS // 4
    assert not found[~inside].any()


def test_rays_across_a_whole_patch_are_followed_to_its_end():
    found, cut = lengths(np.ones((200, 120)), (99.5, 59.5))
    np.testing.assert_allclose(found, to_sides(100, 100, 60, 60), rtol=1e-5)
    assert cut.all()


def test_flipping_the_object_flips_the_rays():
    rng = np.random.default_rng(0)
    drawn = (rng.random((30, 30)) < 0.8).astype(np.int32)
    way = directions(RAYS)
    flipped = np.argmin(np.linalg.norm((way * [-1, 1])[:, None] - way[None], axis=2), axis=1)
    one, _ = lengths(drawn, (14.5, 14.5))
    other, _ = lengths(drawn[::-1].copy(), (14.5, 14.5))
    np.testing.assert_allclose(one, other[flipped], rtol=1e-6)


def test_no_place_gives_no_ray():
    none, cut = ray_lengths(
        torch.zeros((8, 8), dtype=torch.int32), torch.zeros((0, 2)), torch.zeros(0, dtype=torch.long), RAYS
    )
    assert none.shape == cut.shape == (0, RAYS)


def test_rays_followed_in_small_portions_are_as_long(monkeypatch):
    rng = np.random.default_rng(0)
    instances = torch.as_tensor(np.kron(rng.integers(0, 3, (8, 8)), np.ones((9, 9))).astype(np.int32))
    at = torch.nonzero(instances > 0).float()
    owner = instances[instances > 0].long()
    whole = ray_lengths(instances, at, owner, RAYS)
    monkeypatch.setattr(rays_module, "_TOGETHER", 7 * RAYS)  # 7 places at a time; their number is no multiple of it
    assert len(at) % 7
    portions = ray_lengths(instances, at, owner, RAYS)
    assert all(torch.equal(one, other) for one, other in zip(whole, portions, strict=True))
