import pytest
import torch
from torch import nn

from pipeline.config import ExperimentConfig
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.fused import _OneDnnConv3d, _Stem3d, fused
from tests.experiments import tiny_2d, tiny_3d

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def as_if_trained(network):
    for module in network.modules():
        if isinstance(module, _NORMS):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.3, 0.3)
    return network.eval()


def efficientnet():
    raw = tiny_2d().model_dump()
    raw["detector"] |= {"backbone": {"kind": "efficientnet_lite0", "pretrained": False}, "output_level": 0}
    raw["preprocessing"]["channels"] = 3
    return as_if_trained(seeded_network(ExperimentConfig.model_validate(raw)))


def resnet(depth, first_stride=2, dims=3):
    raw = (tiny_3d() if dims == 3 else tiny_2d()).model_dump()
    backbone = {"kind": "resnet", "depth": depth, "width": 8, "stages": 2, "first_stride": first_stride}
    raw["detector"] |= {"backbone": backbone, "output_level": 1}
    return as_if_trained(seeded_network(ExperimentConfig.model_validate(raw)))


NETWORKS = {
    "efficientnet": (efficientnet, (3, 64, 64)),
    "resnet 50": (lambda: resnet(50), (1, 32, 48, 16)),
    "resnet 10, other steps": (lambda: resnet(10, (2, 2, 1)), (1, 32, 32, 16)),
    "resnet in 2D": (lambda: resnet(18, dims=2), (1, 64, 32)),
    "residual U-Net": (lambda: seeded_network(tiny_3d()).eval(), (1, 24, 24, 16)),
}


@pytest.fixture(name="network", scope="module")
def _network():
    return efficientnet()


@pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS.keys())
@torch.inference_mode()
def test_the_quick_network_says_the_same(make, shape):
    network, image = make(), torch.rand(1, *shape)
    one, other = network(image), fused(network)(image)
    for name in ("score", "classes", "distances"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-4)


@pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS.keys())
@torch.inference_mode()
def test_the_quick_network_says_about_the_same_in_half_precision(make, shape):
    network, image = make(), torch.rand(1, *shape)
    expected = network(image).score
    with torch.autocast("cpu", torch.bfloat16):
        half = fused(network)(image).score
    spread = expected - expected.mean()  # without the bias that all logits begin at
    assert half.sub(expected).abs().max() < 0.1 * spread.abs().max()


@pytest.mark.parametrize(
    ("kernel", "steps"), [((7, 7, 7), (2, 2, 1)), ((3, 3, 3), 2), ((5, 7, 3), (1, 2, 2)), ((1, 3, 1), (1, 2, 1))]
)
def test_a_stem_on_blocks_is_the_convolution(kernel, steps):
    plain = nn.Conv3d(1, 6, kernel, steps, tuple(size // 2 for size in kernel))
    assert _Stem3d.suits(plain)
    image = torch.rand(2, 1, 16, 12, 8)
    assert torch.allclose(_Stem3d(plain)(image), plain(image), atol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv3d(1, 6, 3, 1, 1),
        nn.Conv3d(2, 6, 3, 2, 1),
        nn.Conv3d(1, 6, 4, 2, 1),
        nn.Conv3d(1, 6, 3, 2, 0),
        nn.Conv3d(1, 6, 3, 2, 2, dilation=2),
        nn.Conv3d(1, 6, 3, 1, "same"),
    ],
)
def test_other_first_convolutions_stay_what_they_are(other):
    assert not _Stem3d.suits(other)


def test_every_3d_convolution_is_rearranged_and_the_network_itself_stays_as_it_is():
    network = resnet(10)
    convolutions = [module for module in fused(network).modules() if isinstance(module, nn.Conv3d | _Stem3d)]
    assert {type(one) for one in convolutions} == {_OneDnnConv3d, _Stem3d}
    assert not any(isinstance(module, _OneDnnConv3d | _Stem3d) for module in network.modules())


def test_no_batch_norm_is_left_and_the_network_itself_stays_as_it_is(network):
    assert not any(isinstance(module, _NORMS) for one in (network, resnet(50)) for module in fused(one).modules())
    assert sum(isinstance(module, _NORMS) for module in network.modules()) > 30


def test_pools_stay_in_half_precision_and_keep_the_largest_value():
    (pool,) = (module for module in fused(resnet(10)).modules() if isinstance(module, nn.MaxPool3d))
    image = torch.randn(1, 3, 8, 6, 10, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        half, whole = pool(image), nn.MaxPool3d(3, 2, 1)(image)
    assert half.dtype is torch.bfloat16
    assert whole.dtype is torch.float32
    assert torch.equal(half.float(), whole)
