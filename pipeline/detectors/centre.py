"""The centre detector: backbone → decoder → score, class and distances to the object's edge at every location."""

import math
from collections.abc import Callable, Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn import functional

from pipeline.config.detector import CentreConfig
from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.samples import Objects
from pipeline.detectors.backbones import group_norm, make_backbone
from pipeline.detectors.detector import Candidates, Count, Detector, Loss, View, at_least_one, check_level
from pipeline.detectors.losses import detection_loss
from pipeline.detectors.maps import Maps, averaged
from pipeline.detectors.shapes import StarShape, shape_of
from pipeline.detectors.turns import UPRIGHT, Turn

# Score of every location before training: objects are rare (RetinaNet, arXiv 1708.02002, section 3.3).
_PRIOR = 0.02


class CentreDetector(Detector[Maps]):
    """Anchor-free, in 2D and 3D: centres as peaks (arXiv 1904.07850), boxes as distances (FCOS, arXiv 1904.01355), or
    in 2D star-convex outlines as distances (StarDist, arXiv 1806.03535).

    Location ``n`` along an axis of output stride ``s`` lies at input voxel ``n * s + (s - 1) / 2``.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        detector, dims = config.detector, config.data.dims
        assert isinstance(detector, CentreConfig)
        self.dims, self.class_count = dims, len(config.data.classes)
        self.backbone = make_backbone(detector.backbone, dims, config.preprocessing.channels)
        check_level(detector.output_level, self.backbone)
        self.output_level = detector.output_level
        self.stride = self.backbone.strides[self.output_level]
        self.coarsest_stride = self.backbone.strides[-1]
        width = detector.decoder_width
        used = self.backbone.widths[self.output_level :]
        self.lateral = nn.ModuleList(Convolution(dims, w, width, kernel_size=1, conv_only=True) for w in used)
        self.smooth = nn.ModuleList(_conv(dims, width) for _ in used)
        self.head = _conv(dims, width)
        self.shape = shape_of(detector.outline, dims)
        self.spread, self.soft = detector.object_spread, detector.score_target == "soft"
        self.out = _last_layer(dims, width, 1 + self.class_count + self.shape.distances)
        self.grade = _grade_branch(dims, width) if config.data.grade is not None else None
        # Where distances start: an object two output strides to each side.
        self.distance_scale: torch.Tensor
        self.register_buffer("distance_scale", torch.tensor(2.0 * sum(self.stride) / dims))

    def forward(self, image: torch.Tensor) -> Maps:
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
        grade = None if self.grade is None else self.grade(top).float()[:, 0]
        return Maps(raw[:, 0], classes, distances, grade)

    def locations(self, shape: tuple[int, ...], device: torch.device) -> list[torch.Tensor]:
        """Input voxel of every location along each axis, for an output of ``shape``."""
        return [
            torch.arange(n, device=device, dtype=torch.float32) * s + (s - 1) / 2
            for n, s in zip(shape, self.stride, strict=True)
        ]

    def loss(
        self,
        output: Maps,
        batch: list[Objects],
        class_weights: torch.Tensor | None = None,
        divisor: Count = at_least_one,
    ) -> Loss:
        return detection_loss(self, output, batch, class_weights, divisor)

    def candidates(self, output: Maps, views: Sequence[View], score_floor: float) -> list[Candidates]:
        """The peaks: locations whose score none of their neighbours exceeds."""
        return [self._peaks(output, number, view, score_floor) for number, view in enumerate(views)]

    def averaged(self, outputs: Sequence[Maps]) -> Maps:
        return averaged(outputs)

    def look_through(
        self,
        see: Callable[[torch.Tensor], Maps],
        image: torch.Tensor,
        views: Sequence[View],
        score_floor: float,
        turns: Sequence[Turn],
    ) -> list[Candidates]:
        """As in `Detector`; what is said of one place in all turns is averaged: probabilities of scores and classes,
        and distances."""
        if tuple(turns) == (UPRIGHT,):
            return self.candidates(see(image), views, score_floor)
        said = [self._turned_back(see(turn.of(image, self.dims)), turn) for turn in turns]
        return self.candidates(averaged(said), views, score_floor)

    def _turned_back(self, maps: Maps, turn: Turn) -> Maps:
        order = turn.rays(self.shape.rays) if isinstance(self.shape, StarShape) else turn.sides(self.dims)
        score, classes, distances = (turn.back(one, self.dims) for one in (maps.score, maps.classes, maps.distances))
        grade = None if maps.grade is None else turn.back(maps.grade, self.dims)
        return Maps(score, classes, distances[:, order], grade)

    def logits(self, output: Maps) -> tuple[torch.Tensor, ...]:
        return (output.score,)

    def boxes(self, output: Maps, number: int, view: View) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        at = self._all_locations(output) + torch.tensor(view.start, dtype=torch.float32, device=output.score.device)
        size = torch.tensor(view.shape, dtype=at.dtype, device=at.device)
        return (self.shape.edges(at, output.distances[number].flatten(1).T, size),)

    def head_parts(self) -> list[tuple[str, list[nn.Module]]]:
        return [("output layer", [self.out]), ("decoder", [self.head, self.smooth, self.lateral])]

    def _all_locations(self, output: Maps) -> torch.Tensor:
        """``(places, d)`` in voxels of the window."""
        locations = self.locations(tuple(output.score.shape[1:]), output.score.device)
        return torch.stack([axis.flatten() for axis in torch.meshgrid(*locations, indexing="ij")], dim=1)

    def _peaks(self, output: Maps, number: int, view: View, score_floor: float) -> Candidates:
        score = torch.sigmoid(output.score[number])
        pool = functional.max_pool2d if self.dims == 2 else functional.max_pool3d
        peak = (score == pool(score[None, None], 3, stride=1, padding=1)[0, 0]) & (score >= score_floor)
        start, shape, stride = (
            torch.tensor(values, dtype=torch.float32, device=score.device)
            for values in (view.start, view.shape, self.stride)
        )
        flat = torch.nonzero(peak.flatten())[:, 0]
        at = self._all_locations(output)[flat] + start
        # A location at the far border may have its middle in the padding and still stand for real voxels.
        inside = (at - (stride - 1) / 2 <= shape - 1).all(dim=1)
        at, flat = at[inside], flat[inside]
        distances = output.distances[number].flatten(1)[:, flat].T
        lower, upper = self.shape.edges(at, distances, shape)
        return Candidates(
            at,
            lower,
            upper,
            score.flatten()[flat],
            output.classes[number].flatten(1)[:, flat].argmax(dim=0),
            self.shape.vertices(at, distances) if isinstance(self.shape, StarShape) else None,
            None if output.grade is None else torch.sigmoid(output.grade[number].flatten()[flat]),
        )


def _last_layer(dims: int, width: int, channels: int) -> nn.Module:
    """A plain 1 x 1 convolution whose first channel, the score, starts at the prior."""
    layer = Conv["conv", dims](width, channels, kernel_size=1)
    with torch.no_grad():
        layer.bias.zero_()
        layer.bias[0] = -math.log((1 - _PRIOR) / _PRIOR)
    return layer


def _grade_branch(dims: int, width: int) -> nn.Module:
    """Starts at 1/2 everywhere: how common a grade is says nothing of the next scan's."""
    last = Conv["conv", dims](width, 1, kernel_size=1)
    nn.init.zeros_(last.bias)
    return nn.Sequential(_conv(dims, width), last)


def _conv(dims: int, width: int) -> nn.Module:
    return Convolution(dims, width, width, kernel_size=3, act="RELU", norm=group_norm(width), adn_ordering="NA")
