"""Which weights learn, and how fast."""

import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import seeded_network
from pipeline.errors import ModelError
from pipeline.training.module import DetectorTraining
from pipeline.training.rates import parameter_groups
from tests.experiments import tiny_2d


def lite(**training: object) -> ExperimentConfig:
    raw = tiny_2d(**training).model_dump()
    raw["preprocessing"]["channels"] = 3
    raw["detector"]["backbone"] = {"kind": "efficientnet_lite0", "pretrained": False}
    return ExperimentConfig.model_validate(raw)


def resnet(depth: int) -> ExperimentConfig:
    raw = tiny_2d().model_dump()
    raw["detector"]["backbone"] = {"kind": "resnet", "depth": depth, "width": 4, "stages": 3}
    return ExperimentConfig.model_validate(raw)


@pytest.mark.parametrize(
    "config", [tiny_2d(), lite(), resnet(10), resnet(50)], ids=["residual", "lite", "resnet 10", "resnet 50"]
)
def test_every_weight_of_a_backbone_is_in_one_part_and_every_resolution_has_one(config):
    backbone = seeded_network(config).backbone
    parts = [one for part in backbone.parts() for module in part for one in module.parameters()]
    assert sorted(map(id, parts)) == sorted(map(id, backbone.parameters()))
    assert len(backbone.parts()) == len(backbone.widths)


def test_rates_fall_with_each_stage_below_the_decoder():
    config = tiny_2d(learning_rate=1e-3, layer_decay=0.5)
    network = seeded_network(config)
    groups = parameter_groups(network, config.training)
    assert [group["lr"] for group in groups] == pytest.approx([0.125e-3, 0.25e-3, 0.5e-3, 1e-3])
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_frozen_stages_keep_weights_and_running_statistics_while_the_rest_learns():
    config = lite(frozen_stages=2, learning_rate=1e-2)
    module = DetectorTraining(seeded_network(config), config, 10).train()
    before = {name: value.clone() for name, value in module.network.backbone.state_dict().items()}
    optimiser = torch.optim.AdamW(parameter_groups(module.network, config.training))
    module.network(torch.randn(2, 3, 32, 32)).distances.square().sum().backward()
    optimiser.step()
    after = module.network.backbone.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any(
        name.startswith(("_conv_stem", "_bn0", "_blocks.0.", "_blocks.1.", "_blocks.2.")) for name in changed
    )
    assert {"_blocks.3._expand_conv.weight", "_blocks.3._bn0.running_mean"} <= changed


def test_more_frozen_stages_than_there_are_is_refused():
    config = tiny_2d(frozen_stages=4)
    with pytest.raises(ModelError, match="at most the backbone's 3 stages, got 4"):
        DetectorTraining(seeded_network(config), config, 10)
