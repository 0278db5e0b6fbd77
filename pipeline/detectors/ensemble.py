"""Several networks as one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.datasets.samples import Objects
from pipeline.detectors.backbones import Backbone
from pipeline.detectors.detector import Candidates, Count, Detector, Loss, Output, View, at_least_one
from pipeline.detectors.turns import Turn


class Ensemble(Detector[Output]):
    """Networks of one experiment, trained from several seeds: what they say of a place is averaged before
    candidates are taken from it (probabilities and distances, as `Detector.averaged` does).

    Args:
        members: two or more, alike but for their weights. The first stands for all where one network is asked for.
    """

    def __init__(self, members: Sequence[Detector[Output]]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first = members[0]
        self.dims, self.class_count = first.dims, first.class_count
        self.stride, self.coarsest_stride = first.stride, first.coarsest_stride

    @property
    def first(self) -> Detector[Output]:
        return self.members[0]  # type: ignore[return-value]

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        return self.first.backbone

    def forward(self, image: torch.Tensor) -> Output:
        return self.first.averaged([member(image) for member in self.members])

    def averaged(self, outputs: Sequence[Output]) -> Output:
        return self.first.averaged(outputs)

    def loss(
        self,
        output: Output,
        batch: list[Objects],
        class_weights: torch.Tensor | None = None,
        divisor: Count = at_least_one,
    ) -> Loss:
        return self.first.loss(output, batch, class_weights, divisor)

    def candidates(self, output: Output, views: Sequence[View], score_floor: float) -> list[Candidates]:
        return self.first.candidates(output, views, score_floor)

    def look_through(
        self,
        see: Callable[[torch.Tensor], Output],
        image: torch.Tensor,
        views: Sequence[View],
        score_floor: float,
        turns: Sequence[Turn],
    ) -> list[Candidates]:
        return self.first.look_through(see, image, views, score_floor, turns)

    def logits(self, output: Output) -> tuple[torch.Tensor, ...]:
        return self.first.logits(output)

    def boxes(self, output: Output, number: int, view: View) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        return self.first.boxes(output, number, view)

    def head_parts(self) -> list[tuple[str, list[nn.Module]]]:
        return self.first.head_parts()

    def compile(self, *args: Any, **options: Any) -> None:
        for member in self.members:
            member.compile(*args, **options)
