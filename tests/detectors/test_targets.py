import numpy as np
import pytest
import torch

from pipeline.datasets.samples import Objects
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.losses import box_loss, detection_loss, peak_focal_loss, soft_focal_loss
from pipeline.detectors.maps import Maps
from pipeline.detectors.targets import draw_targets
from tests.experiments import tiny_2d, tiny_3d


def objects(centres, sizes, labels=None, ignore=None) -> Objects:
    centres, sizes = torch.tensor(centres, dtype=torch.float32), torch.tensor(sizes, dtype=torch.float32)
    n = len(centres)
    return Objects(
        centres - sizes / 2,
        centres + sizes / 2,
        torch.zeros(n, dtype=torch.long) if labels is None else torch.tensor(labels),
        torch.zeros(n, dtype=torch.bool) if ignore is None else torch.tensor(ignore),
    )


def grid_of(n, stride, dims=2):
    return [torch.arange(n, dtype=torch.float32) * stride + (stride - 1) / 2 for _ in range(dims)]


def test_each_object_has_a_peak_of_one_at_its_nearest_location():
    targets = draw_targets(objects([[10.2, 20.9], [40.0, 7.0]], [[8.0, 8.0]] * 2), grid_of(32, 2), 0.15)
    peaks = torch.nonzero(targets.score == 1.0)
    assert targets.objects == 2
    # Location n lies at voxel 2 n + 0.5: 10.2 is at 4.85 → 5, 20.9 at 10.2 → 10; 40 at 19.75 → 20, 7 at 3.25 → 3.
    assert sorted(peaks.tolist()) == [[5, 10], [20, 3]]


def test_a_one_voxel_lesion_is_not_lost():
    targets = draw_targets(objects([[5.0, 5.0, 5.0]], [[1.0, 1.0, 1.0]]), grid_of(8, 2, 3), 0.15)
    assert targets.objects == 1
    assert len(targets.where) >= 1


def test_two_thousand_touching_cells_all_have_a_peak():
    i, j = np.meshgrid(np.arange(45) * 11 + 6, np.arange(45) * 11 + 6, indexing="ij")
    centres = np.stack([i.ravel(), j.ravel()], axis=1).tolist()
    targets = draw_targets(objects(centres, [[11.0, 11.0]] * len(centres)), grid_of(256, 2), 0.14)
    assert targets.objects == 2025
    assert len(torch.unique(targets.owner)) == 2025


def test_ignored_objects_ask_for_nothing():
    targets = draw_targets(objects([[10.0, 10.0]], [[8.0, 8.0]], ignore=[True]), grid_of(16, 2), 0.15)
    assert targets.objects == 0
    assert len(targets.where) == 0
    assert targets.weight[5, 5] == 0
    assert targets.weight[0, 15] == 1


def test_a_perfect_answer_costs_almost_nothing():
    wanted = torch.tensor([[3.0, 4.0, 5.0, 6.0]])
    assert float(box_loss(wanted, wanted)) == pytest.approx(0.0, abs=1e-6)
    logit = torch.tensor([20.0, -20.0])
    assert float(peak_focal_loss(logit, torch.tensor([1.0, 0.0]), torch.ones(2))) < 1e-6
    assert float(soft_focal_loss(logit, torch.tensor([1.0, 0.0]), torch.ones(2))) < 1e-6


def test_a_soft_target_is_met_by_its_own_value_and_by_no_other():
    target, weight = torch.tensor([0.5, 0.25]), torch.ones(2)
    met = torch.logit(target)
    assert float(soft_focal_loss(met, target, weight)) == pytest.approx(0.0, abs=1e-9)
    # At logit 0 the second answers 0.5 for 0.25: cross-entropy ln 2, missed by a quarter, halved.
    given = torch.tensor([0.0, 0.0])
    assert float(soft_focal_loss(given, target, weight)) == pytest.approx(0.5 * 0.25**2 * np.log(2))


def test_box_loss_of_a_half_overlap_by_hand():
    # 10 long against 5 long on one axis, equal on the other: IoU = 0.5; the far side is off by 5 of 10.
    wanted = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    given = torch.tensor([[5.0, 5.0, 0.0, 5.0]])
    relative = (0.5 - 0.05) / 4  # smooth L1 with beta 0.1: |x| - beta / 2, mean over four sides
    assert float(box_loss(given, wanted)) == pytest.approx(0.5 + relative)


@pytest.mark.parametrize("config", [tiny_2d(), tiny_3d()], ids=["2d", "3d"])
def test_every_weight_learns_from_a_batch_with_and_without_objects(config):
    dims = config.data.dims
    network = seeded_network(config)
    shape = config.sampling.patch
    image = torch.randn(2, 1, *shape)
    full = objects([[float(n // 2) for n in shape]], [[6.0] * dims])
    empty = Objects(
        torch.zeros(0, dims), torch.zeros(0, dims), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool)
    )
    loss = detection_loss(network, network(image), [full, empty])
    (loss.score + loss.box + loss.label).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_only_empty_patches_give_a_finite_loss():
    network = seeded_network(tiny_2d())
    empty = Objects(
        torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool)
    )
    maps: Maps = network(torch.zeros(1, 1, 32, 32))
    loss = detection_loss(network, maps, [empty])
    assert torch.isfinite(loss.score)
    assert loss.box.item() == 0
