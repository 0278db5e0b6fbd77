"""MONAI's RetinaNet: its pyramid, heads, anchors, matcher, sampler and box coder behind our interface.

`monai.apps.detection.RetinaNetDetector` and `BackboneWithFPN` themselves need Torchvision, and cap detections.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNetClassificationHead, RetinaNetRegressionHead
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from torch import nn

from pipeline.config.detector import RetinaNetConfig
from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.samples import Objects
from pipeline.detectors.anchor_losses import drawn_alike, patch_loss, score_loss_of
from pipeline.detectors.anchors import Anchors, sides
from pipeline.detectors.backbones import make_backbone
from pipeline.detectors.detector import Candidates, Count, Detector, Loss, View, at_least_one, check_level
from pipeline.detectors.maps import mean_logit
from pipeline.detectors.shapes import apart


@dataclass(frozen=True)
class AnchorMaps:
    """One tensor a pyramid level, finest first: ``logits`` ``(batch, i, j[, k], shape, class)`` and ``deltas``
    ``(batch, i, j[, k], shape, 2 d)``, boxes relative to anchors as MONAI encodes them."""

    logits: tuple[torch.Tensor, ...]
    deltas: tuple[torch.Tensor, ...]

    def of(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of one window, all levels: ``(anchors, class)`` and ``(anchors, 2 d)``."""
        logits, deltas = (
            torch.cat([level[number].flatten(0, -2) for level in levels]) for levels in (self.logits, self.deltas)
        )
        return logits, deltas

    @property
    def grids(self) -> list[tuple[int, ...]]:
        return [tuple(level.shape[1:-2]) for level in self.logits]


class RetinaNetDetector(Detector[AnchorMaps]):
    """Lin et al. 2017, arXiv 1708.02002, in 2D and 3D; no limit to the number of detections."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        detector, dims = config.detector, config.data.dims
        assert isinstance(detector, RetinaNetConfig)
        self.dims, self.class_count = dims, len(config.data.classes)
        self.backbone = make_backbone(detector.backbone, dims, config.preprocessing.channels)
        check_level(detector.output_level, self.backbone)
        self.output_level = detector.output_level
        used = self.backbone.strides[self.output_level :]
        self.coarsest_stride = tuple(2 * step for step in used[-1])
        self.stride = used[0]
        width = detector.pyramid_width
        self.pyramid = FeaturePyramidNetwork(
            dims, list(self.backbone.widths[self.output_level :]), width, LastLevelMaxPool(dims)
        )
        shapes = detector.anchor_shapes
        self.anchors = Anchors(shapes, (*used, self.coarsest_stride), detector.anchors_an_object)
        self.score_head = RetinaNetClassificationHead(width, len(shapes), self.class_count, dims)
        self.box_head = RetinaNetRegressionHead(width, len(shapes), dims)
        self.score_loss, self.box_loss = score_loss_of(detector.scores), detector.box_loss
        self.coder = BoxCoder((1.0,) * 2 * dims)

    def forward(self, image: torch.Tensor) -> AnchorMaps:
        levels, logits = self._scored(image)
        return AnchorMaps(logits, self._boxed(levels))

    def output_above(self, image: torch.Tensor, score_floor: float) -> AnchorMaps:
        """Where no window of the batch scores ``score_floor`` anywhere, as most of an archive, boxes are left at zero:
        their head is a fifth to a half of the network."""
        levels, logits = self._scored(image)
        least = score_floor * (1 - 1e-3)  # whatever rounds differently when candidates are taken
        if any(bool((torch.sigmoid(level) >= least).any()) for level in logits):
            return AnchorMaps(logits, self._boxed(levels))
        sides = 2 * self.dims
        return AnchorMaps(logits, tuple(level.new_zeros(()).expand(*level.shape[:-1], sides) for level in logits))

    def averaged(self, outputs: Sequence[AnchorMaps]) -> AnchorMaps:
        """Of probabilities, and of deltas, which all are relative to the same anchors."""
        logits = zip(*(one.logits for one in outputs), strict=True)
        deltas = zip(*(one.deltas for one in outputs), strict=True)
        return AnchorMaps(
            tuple(mean_logit(level) for level in logits), tuple(torch.stack(level).mean(dim=0) for level in deltas)
        )

    def compile(self, *args: Any, **options: Any) -> None:
        """In the two steps that `output_above` takes."""
        self._scored = torch.compile(self._scored, *args, **options)  # type: ignore[method-assign]
        self._boxed = torch.compile(self._boxed, *args, **options)  # type: ignore[method-assign]

    # Not the heads' own forward: it raises where a value is not finite, and such a step is to be skipped.
    def _scored(self, image: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        features = self.features(image)[self.output_level :]
        levels = tuple(self.pyramid(OrderedDict((str(n), feature) for n, feature in enumerate(features))).values())
        return levels, tuple(
            self._by_anchor(self.score_head.cls_logits(self.score_head.conv(level))) for level in levels
        )

    def _boxed(self, levels: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(self._by_anchor(self.box_head.bbox_reg(self.box_head.conv(level))) for level in levels)

    def loss(
        self,
        output: AnchorMaps,
        batch: list[Objects],
        class_weights: torch.Tensor | None = None,
        divisor: Count = at_least_one,
    ) -> Loss:
        """``score`` over the anchors drawn, or with an object; ``box`` over the anchors with an object.

        ``class_weights`` play no part: the score is one a class, as in MONAI's.
        """
        nothing = torch.stack([level.sum() * 0.0 for level in (*output.logits, *output.deltas)]).sum()
        if not torch.isfinite(nothing):  # MONAI's coder would raise
            for _ in range(2):  # other processes ask as often, and wait for this one
                divisor(torch.zeros_like(nothing))
            return Loss(nothing, nothing, nothing)
        anchors = self.anchors.of(output.grids, nothing.device)
        every = torch.cat(anchors)
        shape = [n * step for n, step in zip(output.grids[0], self.stride, strict=True)]
        parts = []
        with drawn_alike(batch):
            for number, objects in enumerate(batch):
                matches = self.anchors.match(anchors, objects, shape)
                parts.append(
                    patch_loss(*output.of(number), every, matches, objects.labels, self.score_loss, self.box_loss)
                )
        asked, found = torch.tensor([(part.score_count, part.box_count) for part in parts]).sum(dim=0).to(nothing)
        score = torch.stack([part.score for part in parts]).sum() / divisor(asked)
        box = torch.stack([part.box for part in parts]).sum() / divisor(found)
        return Loss(score + nothing, box + nothing, nothing)

    def candidates(self, output: AnchorMaps, views: Sequence[View], score_floor: float) -> list[Candidates]:
        """Every anchor's box, with the class that it scores highest; its centre must lie in the image."""
        every = torch.cat(self.anchors.of(output.grids, output.logits[0].device))
        return [self._above(*output.of(number), every, view, score_floor) for number, view in enumerate(views)]

    def logits(self, output: AnchorMaps) -> tuple[torch.Tensor, ...]:
        return tuple(shape.amax(dim=-1) for level in output.logits for shape in level.unbind(dim=-2))

    def boxes(self, output: AnchorMaps, number: int, view: View) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        anchors = self.anchors.of(output.grids, output.logits[0].device)
        count = self.anchors.count
        return tuple(
            self._sides(level[number].flatten(0, -2)[shape::count], own[shape::count], view)
            for level, own in zip(output.deltas, anchors, strict=True)
            for shape in range(count)
        )

    def head_parts(self) -> list[tuple[str, list[nn.Module]]]:
        return [
            ("output layer", [self.score_head.cls_logits, self.box_head.bbox_reg]),
            ("decoder", [self.score_head.conv, self.box_head.conv, self.pyramid]),
        ]

    def _by_anchor(self, raw: torch.Tensor) -> torch.Tensor:
        """``(batch, shape * n, i, j[, k])`` → ``(batch, i, j[, k], shape, n)``."""
        split = raw.float().unflatten(1, (self.anchors.count, -1))
        return split.permute(0, *range(3, 3 + self.dims), 1, 2)

    def _above(
        self, logits: torch.Tensor, deltas: torch.Tensor, anchors: torch.Tensor, view: View, score_floor: float
    ) -> Candidates:
        best, label = logits.max(dim=1)
        scores = torch.sigmoid(best)
        keep = scores >= score_floor
        lower, upper = self._sides(deltas[keep], anchors[keep], view)
        found = Candidates((lower + upper) / 2, lower, upper, scores[keep], label[keep])
        size = torch.tensor(view.shape, dtype=torch.float32, device=logits.device)
        return found[((found.at >= -0.5) & (found.at < size - 0.5)).all(dim=1)]

    def _sides(self, deltas: torch.Tensor, anchors: torch.Tensor, view: View) -> tuple[torch.Tensor, torch.Tensor]:
        start = torch.tensor(view.start, dtype=torch.float32, device=deltas.device)
        lower, upper = apart(*sides(self.coder.decode_single(deltas, anchors)))
        return lower + start, upper + start
