"""How far a network's features see.

By asking the layers and not by formula, so that it holds for every backbone: in a copy whose filters are all positive
and whose norms are left out, the slope of one feature is above zero exactly where a voxel reaches it through
convolutions. The norms reach further: a group norm's mean and variance are of the whole window.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from pipeline.detectors.detector import Detector

Feature = Callable[[Detector, torch.Tensor], torch.Tensor]
_LONGEST = 4096
_NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)


def receptive_fields(network: Detector) -> list[tuple[int, ...]]:
    """Voxels ``(i, j[, k])`` that the convolutions of one feature see, one entry a stage, finest first."""
    transparent = _transparent(network)
    return [_extent(transparent, _of_stage(n)) for n in range(len(network.backbone.strides))]


def output_receptive_field(network: Detector) -> tuple[int, ...]:
    """The same for the score at one place of the finest grid, through backbone and decoder."""
    return _extent(_transparent(network), lambda net, image: net.logits(net(image))[0])


def _of_stage(number: int) -> Feature:
    return lambda network, image: network.features(image)[number].sum(dim=1)


def _transparent(network: Detector) -> Detector:
    """A copy through which every path lets a positive value pass."""
    net = copy.deepcopy(network).cpu().double().eval()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, _NORMS):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, _ConvNd):
                # Means, so that values stay below the ceiling of a ReLU6, where slopes end.
                module.weight.fill_(1.0 / module.weight[0].numel())
                if module.bias is not None:
                    module.bias.zero_()
    return net


def _extent(network: Detector, feature: Feature) -> tuple[int, ...]:
    """Along one axis after the other: the input is long in it and as short as the strides allow in the others."""
    coarsest = network.coarsest_stride
    return tuple(_along(network, feature, axis, coarsest) for axis in range(len(coarsest)))


def _along(network: Detector, feature: Feature, axis: int, coarsest: tuple[int, ...]) -> int:
    length = 16 * coarsest[axis]
    while True:
        reached = _reached(network, feature, axis, tuple(length if n == axis else s for n, s in enumerate(coarsest)))
        if length > _LONGEST or (reached[0] > 0 and reached[-1] < length - 1):
            return int(reached[-1] - reached[0] + 1)
        length *= 2


def _reached(network: Detector, feature: Feature, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """Indices along ``axis`` that the middle feature sees."""
    first = next(module for module in network.modules() if isinstance(module, _ConvNd))
    image = torch.full((1, first.in_channels, *shape), 0.01, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = feature(network, image)[0]
        slope = torch.autograd.grad(value[tuple(n // 2 for n in value.shape)], image)[0][0]
    others = tuple(n for n in range(slope.ndim) if n != axis + 1)
    return np.flatnonzero(slope.abs().amax(dim=others).numpy() > 0)
