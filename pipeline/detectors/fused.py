"""A network as it runs fastest: the same answers in less time, for inference only."""

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.detectors.detector import Detector


def fused(network: Detector) -> Detector:
    """A copy in evaluation form, batch norms folded into the convolutions before them.

    A module names its convolutions and the batch norm that follows each in ``normed``. On a CPU convolutions are
    arranged as oneDNN is quick with (see `_OneDnnConv3d`, `_Stem3d`), and 3D pools keep half precision. The copy does
    not follow later changes of the weights. Answers differ by rounding (about 1e-6 of a logit).
    """
    quick = copy.deepcopy(network).eval()
    for module in quick.modules():
        for convolution, norm in getattr(module, "normed", ()):
            if hasattr(module, convolution):
                _fold(module, convolution, norm)
    if next(quick.parameters()).device.type == "cpu" and torch.backends.mkldnn.is_available():
        _rearrange(quick)
    return quick


@torch.no_grad()
def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
    setattr(module, norm, nn.Identity())


def _rearrange(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv3d and child.padding_mode == "zeros" and not isinstance(child.padding, str):
                setattr(module, name, _Stem3d(child) if _Stem3d.suits(child) else _OneDnnConv3d.of(child))
            elif type(child) is nn.MaxPool3d:
                child.__class__ = _AsItIsPool3d


class _OneDnnConv3d(nn.Conv3d):
    """torch 2.13 gives a single window's smaller layers (channels times i times j up to 20,480, whatever k) to an
    algorithm of its own that takes three times as long: lidc_retinanet_3d took 0.51 s for a window of 96 x 96 x 64
    and takes 0.39 s, and 0.22 s for one of 64 x 64 x 32 and takes 0.08 s (2 cores, 32 bits)."""

    @classmethod
    def of(cls, convolution: nn.Conv3d) -> "_OneDnnConv3d":
        convolution.__class__ = cls  # what it holds stays as it is
        assert isinstance(convolution, cls)
        return convolution

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        half = image.dtype is not torch.float32 or torch.is_autocast_enabled(image.device.type)
        if half or torch.compiler.is_compiling():
            return super().forward(image)
        assert not isinstance(self.padding, str)
        return torch.mkldnn_convolution(
            image, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


class _AsItIsPool3d(nn.MaxPool3d):
    """In the precision of what comes in. Under autocast torch 2.13 pools 3D images on a CPU in 32 bits, where the
    first pool of lidc_retinanet_3d takes 36 ms of a window's 450 instead of 7; the largest value is the same."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with torch.autocast(image.device.type, enabled=False):
            return super().forward(image)


class _Stem3d(nn.Module):
    """A first convolution over one channel in steps of two voxels, on blocks of voxels as channels instead: oneDNN has
    little to do at once with one channel. 7 x 7 x 7 in steps of 2, 2, 1 over 128 x 128 x 80 takes two thirds of the
    time."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self._steps = convolution.stride
        weight = convolution.weight.detach()
        low = [size // 2 for size in convolution.kernel_size]
        # In front as many voxels as make whole blocks, and behind as many as are then wanting.
        front = [-size % step for size, step in zip(low, self._steps, strict=True)]
        behind = [
            -(size + more) % step for size, more, step in zip(convolution.kernel_size, front, self._steps, strict=True)
        ]
        wide = functional.pad(weight, _pads(front, behind))
        self.weight = nn.Parameter(_blocks(wide, self._steps).contiguous(), requires_grad=False)
        self.bias = convolution.bias
        before = [(size + more) // step for size, more, step in zip(low, front, self._steps, strict=True)]
        after = [size - 1 - first for size, first in zip(self.weight.shape[2:], before, strict=True)]
        self._pads = _pads(before, after)

    @staticmethod
    def suits(convolution: nn.Conv3d) -> bool:
        size = convolution.kernel_size
        centred = all(edge % 2 for edge in size) and convolution.padding == tuple(edge // 2 for edge in size)
        return centred and set(convolution.dilation) == {1} and convolution.in_channels == 1 and 2 in convolution.stride

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        blocks = functional.pad(_blocks(image, self._steps), self._pads)
        return functional.conv3d(blocks.contiguous(memory_format=torch.channels_last_3d), self.weight, self.bias)


def _blocks(voxels: torch.Tensor, steps: tuple[int, ...]) -> torch.Tensor:
    """``(n, 1, i, j, k)`` → ``(n, voxels of a block, i / step, j / step, k / step)``."""
    count, _, *shape = voxels.shape
    parts = [part for size, step in zip(shape, steps, strict=True) for part in (size // step, step)]
    return voxels.reshape(count, *parts).permute(0, 2, 4, 6, 1, 3, 5).flatten(1, 3)


def _pads(before: list[int], after: list[int]) -> list[int]:
    """As `functional.pad` takes them: the last axis first."""
    return [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]
