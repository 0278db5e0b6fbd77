"""Layers whose gradients torch is slow with in bf16 on a CPU stay in 32 bits; nothing else about them changes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.detectors.backbones import _SameConv
from pipeline.detectors.centre import _conv


def seeded(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for one in layer.parameters():
            one.copy_(torch.randn(one.shape, generator=torch.Generator().manual_seed(0)))
    return layer


def gradients(layer, image, half):
    image = image.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = layer(image.to(torch.bfloat16) if half else image)
    out.float().square().mean().backward()
    return out, image.grad, layer.weight.grad.clone()


@pytest.fixture
def seen(monkeypatch):
    """Types in which convolutions and norms were computed."""
    types = []

    def recorded(plain):
        return lambda *given, **more: types.append(given[0].dtype) or plain(*given, **more)

    for name in ("conv2d", "group_norm"):
        monkeypatch.setattr(functional, name, recorded(getattr(functional, name)))
    return types


@pytest.mark.parametrize("groups", [1, 8])
def test_a_filter_of_a_single_channel_is_computed_in_32_bits_and_others_in_bf16(groups, seen):
    layer = seeded(_SameConv(8, 8, 5, groups=groups))
    image = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(1))
    out, *half = gradients(layer, image, half=True)
    assert out.dtype == torch.bfloat16
    assert seen == [torch.float32 if groups > 1 else torch.bfloat16]
    _, *whole = gradients(layer, image, half=False)
    for one, other in zip(half, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * float(other.abs().max()))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_is_that_of_tensorflow_the_odd_pixel_at_the_end(kernel, stride):
    layer = seeded(_SameConv(4, 4, kernel, stride, groups=4))
    image = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    total = kernel - stride
    padded = functional.pad(image, (total // 2, total - total // 2) * 2)
    expected = functional.conv2d(padded, layer.weight, stride=stride, groups=4)
    torch.testing.assert_close(layer(image), expected)


def test_norms_of_the_family_are_computed_in_32_bits(seen):
    (norm,) = [one for one in _conv(2, 16).modules() if isinstance(one, nn.GroupNorm)]
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(torch.randn(2, 16, 8, 8, dtype=torch.bfloat16))
        with torch.inference_mode():  # which is the quicker in bf16
            norm(torch.randn(2, 16, 8, 8, dtype=torch.bfloat16))
    assert seen == [torch.float32, torch.bfloat16]
    assert out.dtype == torch.bfloat16
