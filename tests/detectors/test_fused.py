import pytest
import torch
from torch import nn

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.fused import fused
from tests.experiments import tiny_2d


@pytest.fixture(name="network", scope="module")
def _network():
    raw = tiny_2d().model_dump()
    raw["detector"] |= {"backbone": {"kind": "efficientnet_lite0", "pretrained": False}, "output_level": 0}
    raw["preprocessing"]["channels"] = 3
    network = seeded_network(ExperimentConfig.model_validate(raw))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if trained
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
    return network.eval()


@torch.inference_mode()
def test_the_folded_network_says_the_same(network):
    image = torch.rand(1, 3, 64, 64)
    folded = fused(network)
    one, other = network(image), folded(image)
    for name in ("score", "classes", "distances"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-5)


def test_no_batch_norm_is_left_and_the_network_itself_stays_as_it_is(network):
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused(network).modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 30


def test_a_network_without_batch_norms_is_not_copied():
    network = seeded_network(tiny_2d())
    assert fused(network) is network
