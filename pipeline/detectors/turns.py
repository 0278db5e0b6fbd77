"""Flips and quarter turns of what a network sees, and of what it says back."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from pipeline.config.experiment import ExperimentConfig


@dataclass(frozen=True)
class Turn:
    """Axes i and j swapped (or not), then axes reversed, of the last ``dims`` axes of a tensor.

    ``flips`` are spatial axes, 0 = i, after the swap. Every flip, quarter turn and mixture of them is one of these.
    """

    swap: bool = False
    flips: tuple[int, ...] = ()

    def of(self, image: torch.Tensor, dims: int) -> torch.Tensor:
        """``(…, i, j[, k])`` turned."""
        image = image.transpose(-dims, 1 - dims) if self.swap else image
        return image.flip([axis - dims for axis in self.flips]) if self.flips else image

    def back(self, image: torch.Tensor, dims: int) -> torch.Tensor:
        """What `of` gave, as it was."""
        image = image.flip([axis - dims for axis in self.flips]) if self.flips else image
        return image.transpose(-dims, 1 - dims) if self.swap else image

    def sides(self, dims: int) -> list[int]:
        """For a box's lower sides followed by its upper ones, ``(2 dims,)``: where each is in the turned image."""
        seen = self.axes(dims)
        return [axis + (dims if upper != (axis in self.flips) else 0) for upper in (False, True) for axis in seen]

    def rays(self, count: int) -> list[int]:
        """For each of ``count`` rays of a star (see `pipeline.detectors.rays.directions`): its number when turned.

        The swap mirrors angles at 45°, a flip of i or j at 90° or 0°: each ray lands on a ray since they lie half a
        step off the axes and ``count`` is a multiple of four.
        """
        number = list(range(count))
        if self.swap:
            number = [(count // 4 - 1 - ray) % count for ray in number]
        if 0 in self.flips:
            number = [(count // 2 - 1 - ray) % count for ray in number]
        if 1 in self.flips:
            number = [count - 1 - ray for ray in number]
        return number

    def axes(self, dims: int) -> list[int]:
        """Which axis of the image each axis of the turned one is, and the other way round: it is the same."""
        return [1, 0, *range(2, dims)] if self.swap else list(range(dims))


UPRIGHT = Turn()


def turns_of(config: ExperimentConfig) -> tuple[Turn, ...]:
    """The turns in which ``inference.views`` shows a window to the network, the upright one first."""
    views = config.inference.views
    if views == "none":
        return (UPRIGHT,)
    flips = [tuple(axes) for axes in _subsets(config.augmentation.flip)]
    if views == "flips":
        return tuple(Turn(flips=axes) for axes in flips)
    quarter = (Turn(), Turn(True, (0,)), Turn(False, (0, 1)), Turn(True, (1,)))
    mixed = (Turn(turn.swap, _differing(turn.flips, axes)) for turn in quarter for axes in flips)
    return tuple(dict.fromkeys(mixed))


def _subsets(axes: Iterable[int]) -> list[tuple[int, ...]]:
    ordered = sorted(set(axes))
    return [some for count in range(len(ordered) + 1) for some in itertools.combinations(ordered, count)]


def _differing(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Axes that are flipped once, not twice."""
    return tuple(sorted(set(one) ^ set(other)))
