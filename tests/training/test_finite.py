"""A step that is not finite costs itself and nothing else."""

import copy

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.config import ExperimentConfig
from pipeline.datasets.samples import Batch, Objects, collate
from pipeline.detectors.bundle import seeded_network
from pipeline.errors import DatasetError
from pipeline.training.average import MovingAverage
from pipeline.training.diary import Diary
from pipeline.training.finite import StepGuard, spoiling
from pipeline.training.fit import quiet
from pipeline.training.module import DetectorTraining
from pipeline.training.stopping import Patience
from tests.experiments import tiny_2d

SPOILT = 2  # of the batches below


class Fields(Dataset):
    """One disc a patch; the patches of one batch may hold a number that is none."""

    def __init__(self, channels: int, nan: bool) -> None:
        self.channels, self.nan = channels, nan

    def __len__(self):
        return 12

    def __getitem__(self, number):
        image = torch.randn(self.channels, 32, 32, generator=torch.Generator().manual_seed(number))
        image[:, 8:16, 8:16] += 2
        if self.nan and number == 2 * SPOILT:
            image[0, 3, 3] = torch.nan
        box = torch.tensor([[7.5, 7.5]]), torch.tensor([[15.5, 15.5]])
        return image, Objects(*box, torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.bool))


class LeavesOut(DetectorTraining):
    """What the guard is to do, done by hand: nothing of the one step happens."""

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        if batch_idx != SPOILT:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        before = copy.deepcopy(self.network.state_dict())
        optimizer_closure()
        self.network.load_state_dict(before)
        self.guard.applied = torch.zeros(())


def lite() -> ExperimentConfig:
    """A network with running statistics, which a forward pass changes."""
    raw = tiny_2d().model_dump()
    raw["preprocessing"]["channels"] = 3
    raw["detector"]["backbone"] = {"kind": "efficientnet_lite0", "pretrained": False}
    return ExperimentConfig.model_validate(raw)


def trained(config: ExperimentConfig, module_class: type[DetectorTraining], nan: bool, decay: float = 0.8, *more):
    """Weights, average and module after six batches."""
    module = module_class(seeded_network(config), config, 6)
    average = MovingAverage(decay)
    fields = DataLoader(Fields(config.preprocessing.channels, nan), batch_size=2, collate_fn=collate)
    with quiet():
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=[average, *more],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
        )
        trainer.fit(module, fields)
    return module.network.state_dict(), average, module


@pytest.mark.parametrize("config", [tiny_2d(), lite()], ids=["group norm", "running statistics"])
def test_a_nan_in_one_batch_costs_that_step_and_nothing_else(config):
    spoilt, average, module = trained(config, DetectorTraining, nan=True)
    left_out, expected, _ = trained(config, LeavesOut, nan=False)
    assert int(module.guard.skipped) == 1
    same = {name: torch.equal(value, left_out[name]) for name, value in spoilt.items() if value.is_floating_point()}
    assert all(same.values())
    assert all(map(torch.equal, average._average, expected._average))
    assert module.epoch_figures()["skipped_steps"] == 1.0
    assert module.epoch_figures()["loss"] > 0  # the mean of the five others


@pytest.mark.parametrize("nan", [False, True])
def test_skipped_steps_are_told(tmp_path, nan):
    told = []
    diary = Diary(tmp_path, tiny_2d(), Patience(0), progress=lambda done, total, what: told.append(what))
    trained(tiny_2d(), DetectorTraining, nan, 0.8, diary)
    assert [", steps skipped: 1" in what for what in told] == [nan]


def test_without_a_nan_every_step_counts():
    kept, _, module = trained(tiny_2d(), DetectorTraining, nan=False)
    other, _, _ = trained(tiny_2d(), LeavesOut, nan=False)
    assert int(module.guard.skipped) == 0
    assert any(not torch.equal(value, other[name]) for name, value in kept.items())


def test_an_infinite_loss_with_finite_gradients_spoils_the_gradient():
    weight = torch.ones(2, requires_grad=True)
    spoiling(weight.sum() + torch.inf).backward()
    assert weight.grad.isnan().all()
    weight.grad = None
    spoiling(3 * weight.sum()).backward()
    assert weight.grad.tolist() == [3, 3]


def test_the_statistics_of_a_network_that_moved_are_kept_too():
    """As on its way to a GPU: a conversion gives it other tensors."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    guard = StepGuard(network)
    network.double()
    guard.before_step()
    network(torch.full((1, 1, 4, 4), torch.nan, dtype=torch.float64)).sum().backward()
    guard.clip(torch.optim.AdamW(network.parameters(), fused=True), 1.0)
    assert network[1].running_mean.tolist() == [0, 0]


def test_class_weights_are_where_the_network_is():
    config = tiny_2d()
    module = DetectorTraining(seeded_network(config), config, 1, class_weights=torch.ones(1))
    assert module.to("meta")._class_weights.device.type == "meta"
    assert not any("class_weights" in name for name in module.state_dict())


def test_gradients_are_clipped_to_a_common_norm():
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    StepGuard(layer).clip(torch.optim.AdamW(layer.parameters(), fused=True), 1.0)
    assert torch.allclose(layer.weight.grad, torch.tensor([[0.6, 0.8]]), atol=1e-5)


def test_many_steps_that_are_not_finite_end_the_run():
    guard = StepGuard(torch.nn.Linear(1, 1))
    guard.skipped = torch.tensor(20.0)
    guard.check()
    guard.skipped = torch.tensor(21.0)
    with pytest.raises(DatasetError, match="21 training steps had a loss or gradient that is not a number, expected"):
        guard.check()


def test_losses_of_a_batch_that_is_not_finite_are_left_out_of_the_mean():
    module = DetectorTraining(seeded_network(tiny_2d()), tiny_2d(), 10)
    fields = Fields(1, nan=True)
    good = module.loss(collate([fields[0], fields[1]]))
    assert torch.isnan(module.loss(Batch(torch.full((1, 1, 32, 32), torch.nan), [fields[0][1]])))
    assert module.epoch_figures()["loss"] == pytest.approx(good.item())
