import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.samples import Objects
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.losses import detection_loss, ray_loss
from pipeline.detectors.shapes import StarShape
from pipeline.detectors.star_targets import draw_star_targets
from tests.experiments import tiny_star

RAYS = 32


def objects(instances, ignore=(), labels=None) -> Objects:
    instances = torch.as_tensor(np.asarray(instances, np.int32))
    count = int(instances.max().clamp(min=0))
    flags = torch.zeros(count, dtype=torch.bool)
    flags[list(ignore)] = True
    labels = torch.zeros(count, dtype=torch.long) if labels is None else torch.tensor(labels)
    return Objects(torch.zeros(count, 2), torch.zeros(count, 2), labels, flags, instances)


def grid_of(shape, stride):
    return [torch.arange(n // stride, dtype=torch.float32) * stride + (stride - 1) / 2 for n in shape]


def draw(instances, stride=2, **more):
    return draw_star_targets(objects(instances, **more), grid_of(np.shape(instances), stride), RAYS)


def test_centreness_is_the_way_to_the_nearest_edge_over_the_largest_such_way():
    drawn = np.zeros((32, 32))
    drawn[4:24, 8:18] = 1  # 20 x 10 pixels, edges at 3.5, 23.5, 7.5, 17.5
    score = draw(drawn).score
    assert score.max() == 1
    # Locations at i 2 n + 0.5: 12.5 is 9 from the edge, and j 12.5 is 5 from both, along rays 5.625 degrees off.
    assert score[6, 6] == 1
    assert score[6, 4] == pytest.approx(1 / 5)
    assert score[6, 5] == pytest.approx(3 / 5)
    assert score[1, 6] == 0
    assert score[2, 6] == pytest.approx(1 / 5)


def test_every_object_has_a_most_central_place_and_counts_the_same():
    drawn = np.zeros((64, 64))
    drawn[2:22, 2:22], drawn[22:26, 2:22], drawn[40, 40], drawn[50, 10:30] = 1, 2, 3, 4
    targets = draw(drawn)
    for number in range(4):
        mine = targets.owner == number
        assert targets.score.flatten()[targets.where[mine]].max() == 1
        assert float(targets.share[mine].sum()) == pytest.approx(1)


def test_a_location_belongs_to_the_object_with_most_of_its_voxels():
    drawn = np.zeros((8, 8))
    drawn[2:4, 2:4] = [[1, 1], [1, 2]]
    drawn[3:6, 4:6] = 2
    targets = draw(drawn)
    assert targets.owner[targets.where == 1 * 4 + 1].tolist() == [0]


def test_an_object_cut_by_the_patch_is_most_central_at_the_cut():
    drawn = np.zeros((32, 32))
    drawn[26:, 8:24] = 1  # 16 wide; of its height 6 pixels are shown, and where it ends is not known
    targets = draw(drawn)
    assert targets.score[15, 7] == 1
    assert targets.score[13, 7] == pytest.approx(1 / 5)
    assert targets.cut[targets.where == 15 * 16 + 7].any()


def test_an_object_that_fills_the_patch_is_central_somewhere():
    targets = draw(np.ones((16, 16)))
    assert targets.score.max() == 1
    assert targets.cut.all()


def test_ignored_objects_and_what_is_not_shown_ask_for_nothing():
    drawn = np.zeros((32, 32))
    drawn[2:12, 2:12], drawn[2:12, 20:30] = 1, 2
    drawn[28:] = -1
    targets = draw(drawn, ignore=[0])
    assert set(targets.owner.tolist()) == {1}
    assert targets.score[:7, :7].sum() == 0
    assert targets.weight[3, 3] == 0
    assert targets.weight[14].sum() == 0
    assert targets.weight[10, 10] == 1


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_an_object_of_one_pixel_is_not_lost(stride):
    drawn = np.zeros((16, 16))
    drawn[5, 9] = 1
    targets = draw(drawn, stride)
    assert targets.score.max() == 1
    assert len(targets.where) == 1


def test_two_thousand_touching_objects_are_each_answered_for():
    i, j = np.meshgrid(np.arange(495) // 11, np.arange(495) // 11, indexing="ij")
    targets = draw_star_targets(objects((i * 45 + j + 1)[:494, :494]), grid_of((494, 494), 2), RAYS)
    assert len(torch.unique(targets.owner)) == 2025


def test_rays_that_overlap_by_half_cost_the_logarithm_of_two():
    wanted = torch.full((1, RAYS), 10.0)
    none = torch.zeros((1, RAYS), dtype=torch.bool)
    assert float(ray_loss(wanted, wanted, none)) == 0
    assert float(ray_loss(wanted / 2, wanted, none)) == pytest.approx(np.log(2), abs=1e-3)
    assert float(ray_loss(wanted * 2, wanted, none)) == pytest.approx(np.log(2), abs=1e-3)


def test_along_cut_rays_only_too_short_costs():
    wanted = torch.full((1, RAYS), 10.0)
    cut = torch.ones((1, RAYS), dtype=torch.bool)
    assert float(ray_loss(wanted * 3, wanted, cut)) == 0
    assert float(ray_loss(wanted / 2, wanted, cut)) == pytest.approx(np.log(2), abs=1e-3)


def test_every_weight_learns_from_a_batch_with_and_without_objects():
    raw = tiny_star().model_dump()
    raw["data"]["classes"] = ["a", "b"]
    network = seeded_network(ExperimentConfig.model_validate(raw))
    drawn = np.zeros((32, 32))
    drawn[4:14, 4:14], drawn[18:28, 18:28] = 1, 2
    full, empty = objects(drawn, labels=[0, -1]), objects(np.zeros((32, 32)))
    loss = detection_loss(network, network(torch.randn(2, 1, 32, 32)), [full, empty])
    (loss.score + loss.box + loss.label).backward()
    assert loss.label > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_only_patches_without_any_object_give_a_finite_loss():
    network = seeded_network(tiny_star())
    loss = detection_loss(network, network(torch.zeros(1, 1, 32, 32)), [objects(np.zeros((32, 32)))])
    assert torch.isfinite(loss.score)
    assert loss.box.item() == 0


def test_distances_are_one_for_each_ray_and_never_negative():
    network = seeded_network(tiny_star())
    distances = network(torch.randn(1, 1, 32, 32) * 50).distances
    assert distances.shape == (1, RAYS, 16, 16)
    assert distances.min() >= 0


def test_a_star_has_its_corners_at_its_distances():
    shape = StarShape(8)
    (corners,) = shape.vertices(torch.tensor([[10.0, 20.0]]), torch.full((1, 8), 2.0))
    np.testing.assert_allclose(np.linalg.norm(corners.numpy() - [10, 20], axis=1), 2, rtol=1e-6)
    lower, upper = shape.edges(torch.tensor([[10.0, 20.0]]), torch.full((1, 8), 2.0), torch.tensor([40.0, 40.0]))
    reach = 2 * np.cos(np.pi / 8)
    np.testing.assert_allclose(lower[0], [10 - reach, 20 - reach], rtol=1e-6)
    np.testing.assert_allclose(upper[0], [10 + reach, 20 + reach], rtol=1e-6)


def test_a_bundle_of_stars_comes_back(tmp_path):
    network = seeded_network(tiny_star())
    Bundle(tiny_star(), network, 0.4).save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.config == tiny_star()
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(loaded.network(image).distances, network.eval()(image).distances)
