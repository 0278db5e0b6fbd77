"""bf16 is used where it was seen to give the same gradient, and what was chosen stays."""

import json

import pytest
import torch
from torch import nn

from pipeline.datasets.split import split_cases
from pipeline.training import precision
from pipeline.training.precision import choose_precision
from pipeline.training.train import train
from tests.experiments import tiny_2d

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _computes_bf16(monkeypatch):
    monkeypatch.setattr(precision, "computes_bf16", lambda device: True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))


def loss_of(model: nn.Module):
    image = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return lambda: (model(image).float() - 1).square().mean()


def test_bf16_is_chosen_where_its_gradient_points_the_same_way():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chosen = choose_precision("auto", model, loss_of(model), CPU)
    assert chosen.name == "bf16"
    assert 0.99 < chosen.cosine < 1
    assert chosen.loss_difference < 0.01
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())


def test_a_device_that_computes_bf16_wrongly_trains_in_32_bits():
    """As some do in 3D (pytorch issue 169688): half of the output is something else."""
    model = network()
    right = loss_of(model)

    def loss():
        return right() * (torch.randn(()).abs() if torch.is_autocast_enabled("cpu") else 1.0) + _noise(model)

    def _noise(model):
        wrong = torch.randn(model[0].weight.shape, generator=torch.Generator().manual_seed(2))
        return (model[0].weight * wrong).sum() * float(torch.is_autocast_enabled("cpu"))

    chosen = choose_precision("auto", model, loss, CPU)
    assert chosen.name == "32"
    assert chosen.cosine < 0.97
    assert "cosine" in chosen.reason


def test_a_gradient_that_is_not_finite_in_bf16_means_32_bits():
    model = network()
    right = loss_of(model)
    chosen = choose_precision(
        "auto", model, lambda: right() * (torch.nan if torch.is_autocast_enabled("cpu") else 1.0), CPU
    )
    assert chosen.name == "32"


def test_without_instructions_for_it_bf16_is_not_tried(monkeypatch):
    monkeypatch.setattr(precision, "computes_bf16", lambda device: False)
    chosen = choose_precision("auto", network(), lambda: pytest.fail("tried"), CPU)
    assert (chosen.name, chosen.reason) == ("32", "this cpu does not compute bf16")


def test_what_is_asked_for_is_not_checked():
    for name in ("32", "bf16"):
        assert choose_precision(name, network(), lambda: pytest.fail("tried"), CPU).name == name


def test_a_choice_is_told_recorded_and_kept_on_a_machine_that_would_choose_otherwise(
    tmp_path, settings, volumes, monkeypatch
):
    config = tiny_2d(max_epochs=2, precision="auto", validate_every=2)
    split = split_cases(config.data, volumes, 0)

    class Killed(BaseException):
        pass

    def die(epoch, _):
        raise Killed

    told = []
    with pytest.raises(Killed):
        train(config, split, tmp_path / "run", settings, None, die, lambda *line: told.append(line[2]))
    assert any(line.startswith("precision bf16: gradient of bf16") for line in told)
    monkeypatch.setattr(precision, "computes_bf16", lambda device: False)
    result = train(config, split, tmp_path / "run", settings)
    kept = json.loads((tmp_path / "run" / "finished.json").read_text())["facts"]
    assert kept == result.facts
    assert kept["precision"] == "bf16"
    assert kept["steps"] == 8  # 2 epochs of 16 patches in batches of 4
    assert kept["samples_per_second"] > 0
    assert (kept["skipped_steps"], kept["stopped_early"], kept["processes"]) == (0, False, 1)


def test_patches_of_the_comparison_are_drawn_in_32_bits(tmp_path, settings, volumes):
    """Sampling a bent patch is no arithmetic of the network's."""
    config = tiny_2d(max_epochs=1, precision="auto")
    bent = config.augmentation.model_copy(update={"elastic": 1.5})
    config = config.model_copy(update={"augmentation": bent})
    split = split_cases(config.data, volumes, 0)
    result = train(config, split, tmp_path / "run", settings)
    assert result.facts["precision"] == "bf16"
