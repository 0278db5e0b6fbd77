"""The detector network: backbone → decoder → score, class and distances to the object's edge at every location."""

import math
from dataclasses import dataclass

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional

from pipeline.config.detector import EfficientNetLite
from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.backbones import Backbone, EfficientNetLiteEncoder, ResidualEncoder, Stride, group_norm
from pipeline.detectors.shapes import shape_of
from pipeline.errors import ModelError

# Score of every location before training: objects are rare (RetinaNet, arXiv 1708.02002, section 3.3).
_PRIOR = 0.02


@dataclass(frozen=True)
class Maps:
    """What the network says at every location of its output grid ``(i, j[, k])``.

    ``score`` ``(batch, i, j[, k])``: logit that an object's centre is here. ``classes`` ``(batch, class, …)``: logits.
    ``distances`` ``(batch, 2 * d, …)``: from the location to the lower sides (first ``d``) and to the upper sides
    of the box, in voxels of the INPUT grid, positive outwards; of a star ``(batch, rays, i, j)``: along its rays.
    """

    score: torch.Tensor
    classes: torch.Tensor
    distances: torch.Tensor


class CentreBoxDetector(nn.Module):
    """Anchor-free, in 2D and 3D: centres as peaks (arXiv 1904.07850), boxes as distances (FCOS, arXiv 1904.01355), or
    in 2D star-convex outlines as distances (StarDist, arXiv 1806.03535).

    Location ``n`` along an axis of output stride ``s`` lies at input voxel ``n * s + (s - 1) / 2``.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        detector, dims = config.detector, config.data.dims
        self.dims, self.class_count = dims, len(config.data.classes)
        self.backbone: Backbone = _backbone(config)
        if detector.output_level >= len(self.backbone.widths):
            raise ModelError(
                f"detector.output_level must be below {len(self.backbone.widths)}, the backbone's resolutions, "
                f"got {detector.output_level}"
            )
        self.output_level = detector.output_level
        self.stride: Stride = self.backbone.strides[self.output_level]
        self.coarsest_stride: Stride = self.backbone.strides[-1]
        width = detector.decoder_width
        used = self.backbone.widths[self.output_level :]
        self.lateral = nn.ModuleList(Convolution(dims, w, width, kernel_size=1, conv_only=True) for w in used)
        self.smooth = nn.ModuleList(_conv(dims, width) for _ in used)
        self.head = _conv(dims, width)
        self.shape = shape_of(detector.outline, dims)
        self.out = _last_layer(dims, width, 1 + self.class_count + self.shape.distances)
        # Where distances start: an object two output strides to each side.
        self.distance_scale: torch.Tensor
        self.register_buffer("distance_scale", torch.tensor(2.0 * sum(self.stride) / dims))
        # Channels last, in 2D and 3D: a training step of crc/dsb/lidc takes 243/184/287 ms instead of 318/219/418, in
        # bf16 219/134/214 ms (2 cores with avx512_bf16, torch 2.13).
        self.memory_format = torch.channels_last if dims == 2 else torch.channels_last_3d
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]  # torch's stubs lack it

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Backbone features, finest first, for showing what the network sees."""
        return self.backbone(image.contiguous(memory_format=self.memory_format))

    def forward(self, image: torch.Tensor) -> Maps:
        """``image`` ``(batch, channel, i, j[, k])``, its edges multiples of ``coarsest_stride``."""
        features = self.features(image)[self.output_level :]
        top: torch.Tensor | None = None
        for feature, lateral, smooth in zip(
            reversed(features), reversed(self.lateral), reversed(self.smooth), strict=True
        ):
            merged = lateral(feature)
            if top is not None:
                merged = merged + functional.interpolate(top, size=merged.shape[2:], mode="nearest")
            top = smooth(merged)
        assert top is not None
        raw = self.out(self.head(top)).float()
        classes = raw[:, 1 : 1 + self.class_count]
        distances = self.shape.activated(raw[:, 1 + self.class_count :], self.distance_scale)
        return Maps(raw[:, 0], classes, distances)

    def locations(self, shape: tuple[int, ...], device: torch.device) -> list[torch.Tensor]:
        """Input voxel of every location along each axis, for an output of ``shape``."""
        return [
            torch.arange(n, device=device, dtype=torch.float32) * s + (s - 1) / 2
            for n, s in zip(shape, self.stride, strict=True)
        ]


def _backbone(config: ExperimentConfig) -> Backbone:
    kind = config.detector.backbone
    if isinstance(kind, EfficientNetLite):
        return EfficientNetLiteEncoder(kind)
    return ResidualEncoder(kind, config.data.dims, config.preprocessing.channels)


def _last_layer(dims: int, width: int, channels: int) -> nn.Module:
    """A plain 1 x 1 convolution whose first channel, the score, starts at the prior."""
    layer = Conv["conv", dims](width, channels, kernel_size=1)
    with torch.no_grad():
        layer.bias.zero_()
        layer.bias[0] = -math.log((1 - _PRIOR) / _PRIOR)
    return layer


def _conv(dims: int, width: int) -> nn.Module:
    return Convolution(dims, width, width, kernel_size=3, act="RELU", norm=group_norm(width), adn_ordering="NA")
