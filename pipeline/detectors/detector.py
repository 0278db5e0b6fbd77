"""What the rest of the program asks of a detector, of whatever kind.

Training asks for a loss, inference for the candidates of a window, explanation for the places that a score comes from.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeVar

import torch
from torch import nn

from pipeline.datasets.samples import Objects
from pipeline.detectors.backbones import Backbone, Stride
from pipeline.detectors.turns import UPRIGHT, Turn
from pipeline.errors import ModelError

Output = TypeVar("Output")


@dataclass(frozen=True)
class Loss:
    """Over the batch. ``box`` is that of the outline, box or star; ``label`` is 0 where the score is one a class;
    ``grade`` is `None` where no grade is learnt."""

    score: torch.Tensor
    box: torch.Tensor
    label: torch.Tensor
    grade: torch.Tensor | None = None


Count = Callable[[torch.Tensor], torch.Tensor]
"""A number counted in this batch → what to divide by, at least a share of 1."""


def at_least_one(count: torch.Tensor) -> torch.Tensor:
    return count.clamp(min=1)


@dataclass(frozen=True)
class View:
    """A window's place: ``start`` is its first voxel in an image of ``shape`` voxels; it may reach beyond the end."""

    start: tuple[int, ...]
    shape: tuple[int, ...]

    def turned(self, turn: Turn, window: tuple[int, ...]) -> "View":
        """The place of a window of ``window`` voxels in the image that is turned as the window is.

        ``start`` may then be below 0, where the window reached beyond the image's end.
        """
        axes = turn.axes(len(window))
        start, shape = [self.start[axis] for axis in axes], tuple(self.shape[axis] for axis in axes)
        for axis in turn.flips:
            start[axis] = shape[axis] - start[axis] - window[axes[axis]]
        return View(tuple(start), shape)


@dataclass(frozen=True)
class Candidates:
    """What one window shows, before suppression, on the network's device, in voxels of the whole image.

    ``at`` ``(n, d)`` is the place by which windows share objects out; ``lower`` and ``upper`` ``(n, d)`` the box;
    ``scores`` ``(n,)`` 0 … 1; ``labels`` ``(n,)`` class indices; ``outlines`` ``(n, vertices, d)`` and ``grades``
    ``(n,)`` 0 … 1 where there are any.
    """

    at: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    outlines: torch.Tensor | None = None
    grades: torch.Tensor | None = None

    def __getitem__(self, keep: torch.Tensor) -> "Candidates":
        """Those that a bool mask ``(n,)`` is true of."""
        return Candidates(**{name: value[keep] for name, value in self._there.items()})

    def to(self, device: str) -> "Candidates":
        return Candidates(**{name: value.to(device) for name, value in self._there.items()})

    @property
    def _there(self) -> dict[str, torch.Tensor]:
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def turned_back(self, turn: Turn, shape: tuple[int, ...]) -> "Candidates":
        """Found in the turned image, on the image of ``shape`` voxels as it is."""
        axes = turn.axes(len(shape))
        flipped = torch.tensor([axis in turn.flips for axis in range(len(shape))], device=self.at.device)
        last = torch.tensor([shape[axis] - 1 for axis in axes], dtype=self.at.dtype, device=self.at.device)

        def back(places: torch.Tensor) -> torch.Tensor:
            return torch.where(flipped, last - places, places)[..., axes]

        lower, upper = torch.where(flipped, self.upper, self.lower), torch.where(flipped, self.lower, self.upper)
        outlines = None if self.outlines is None else back(self.outlines)
        return replace(self, at=back(self.at), lower=back(lower), upper=back(upper), outlines=outlines)

    @classmethod
    def together(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """One after the other."""
        given = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{name: torch.cat(values) for name, values in given.items() if values[0] is not None})


class Detector(nn.Module, ABC, Generic[Output]):
    """A network with what belongs to it. ``Output`` is a frozen dataclass of tensors whose first axis is the batch.

    ``stride``: voxels between neighbouring places that answer for an object, where they lie closest.
    ``coarsest_stride``: the input's edges are multiples of it.
    """

    dims: int
    class_count: int
    stride: Stride
    coarsest_stride: Stride
    backbone: Backbone

    @abstractmethod
    def forward(self, image: torch.Tensor) -> Output:
        """``image`` ``(batch, channel, i, j[, k])``, its edges multiples of ``coarsest_stride``."""

    def output_above(self, image: torch.Tensor, score_floor: float) -> Output:
        """What `candidates` of at least ``score_floor`` need of `forward`: kinds may leave out the rest."""
        return self(image)

    @abstractmethod
    def averaged(self, outputs: Sequence[Output]) -> Output:
        """The mean of what several networks say of the same places."""

    @abstractmethod
    def loss(
        self,
        output: Output,
        batch: list[Objects],
        class_weights: torch.Tensor | None = None,
        divisor: Count = at_least_one,
    ) -> Loss:
        """Against the objects of each patch; a patch without any is normal.

        Args:
            output: of the batch.
            batch: one entry a patch.
            class_weights: ``(classes,)`` of the class loss, where there is one apart from the score's; `None`: 1 each.
            divisor: what sums are divided by; where several processes share a batch, what is in the whole of it.
        """

    @abstractmethod
    def candidates(self, output: Output, views: Sequence[View], score_floor: float) -> list[Candidates]:
        """All objects with a score of at least ``score_floor`` that begin inside the image, one entry a window."""

    def look(
        self, image: torch.Tensor, views: Sequence[View], score_floor: float, turns: Sequence[Turn] = (UPRIGHT,)
    ) -> list[Candidates]:
        """The candidates of a batch of windows, each seen in all ``turns``.

        Args:
            image: as for `forward`; with a swap in ``turns``, its edges i and j are multiples of either's stride.
            views: the place of each window.
            score_floor: see `candidates`.
            turns: flips and quarter turns, `UPRIGHT` among them or not.
        """
        return self.look_through(
            lambda turned: self.output_above(turned, score_floor), image, views, score_floor, turns
        )

    def look_through(
        self,
        see: Callable[[torch.Tensor], Output],
        image: torch.Tensor,
        views: Sequence[View],
        score_floor: float,
        turns: Sequence[Turn],
    ) -> list[Candidates]:
        """As `look`, by what ``see`` says of the image in each turn.

        Here the candidates of all turns are pooled: suppression then keeps the highest score of what several turns
        show. Kinds that can, average what is said before they take candidates from it.
        """
        window, parts = tuple(image.shape[2:]), []
        for turn in turns:
            places = [view.turned(turn, window) for view in views]
            found = self.candidates(see(turn.of(image, self.dims)), places, score_floor)
            pairs = zip(found, views, strict=True)
            parts.append([self._inside(one.turned_back(turn, view.shape), view) for one, view in pairs])
        return [Candidates.together(of_window) for of_window in zip(*parts, strict=True)]

    def _inside(self, found: Candidates, view: View) -> Candidates:
        """Without those that begin beyond the image's end: turned, they seemed to begin before its start."""
        last = torch.tensor(view.shape, device=found.at.device) - 1
        half = (torch.tensor(self.stride, dtype=found.at.dtype, device=found.at.device) - 1) / 2
        return found[(found.at - half <= last).all(dim=1)]

    @abstractmethod
    def logits(self, output: Output) -> tuple[torch.Tensor, ...]:
        """Logit of the score at every place, ``(batch, i, j[, k])`` for each grid of places, finest first."""

    @abstractmethod
    def boxes(self, output: Output, number: int, view: View) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """Lower and upper sides ``(places, d)`` of what window ``number`` of the batch says at every place, in voxels
        of the whole image, for each grid of places."""

    @abstractmethod
    def head_parts(self) -> list[tuple[str, list[nn.Module]]]:
        """The parts behind the backbone with their names, from the output downwards."""

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last: a training step of crc/dsb/lidc takes 243/184/287 ms instead of 318/219/418, in bf16
        219/134/214 (2 cores with avx512_bf16, torch 2.13)."""
        return torch.channels_last if self.dims == 2 else torch.channels_last_3d

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Backbone features, finest first, for showing what the network sees."""
        return self.backbone(image.contiguous(memory_format=self.memory_format))


def check_level(level: int, backbone: Backbone) -> None:
    """Raises:
    ModelError: the backbone has no such resolution.
    """
    if level >= len(backbone.widths):
        raise ModelError(
            f"detector.output_level must be below {len(backbone.widths)}, the backbone's resolutions, got {level}"
        )
