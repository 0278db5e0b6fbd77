"""A scan on its way through the network, or a part of one: prepared, padded, divided into windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import Candidates, View
from pipeline.geometry import Grid
from pipeline.inference.parts import Part
from pipeline.inference.windows import WindowPlan, pad_to, windows_of


@dataclass(frozen=True, eq=False)
class Scan:
    """``image`` float32 ``(channel, i, j[, k])`` on the network's device is ``part`` of a scan that lies on
    ``network_grid`` and is padded to ``plan.padded``; detections are wanted on ``grid``, whose voxels are those of
    ``own_grid``, the volume's, in the world that the network works in.

    ``ends`` has one entry for each window of the part: -1 or 1 where all of it lies near that end of the network's
    input (see `pipeline.inference.background`), otherwise 0. ``known`` is what windows show that need no look; where
    that is all of them, ``image`` holds nothing.
    """

    volume_id: str
    image: torch.Tensor
    plan: WindowPlan
    part: Part
    network_grid: Grid
    grid: Grid
    own_grid: Grid
    ends: tuple[int, ...] = ()
    known: Mapping[int, Candidates] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        volume_id: str,
        image: torch.Tensor,
        network_grid: Grid,
        grid: Grid,
        config: ExperimentConfig,
        multiple: tuple[int, ...],
    ) -> "Scan":
        """Plan the windows of network input ``(channel, i, j[, k])``; their edges are multiples of ``multiple``."""
        plan = windows_of(config, tuple(image.shape[1:]), multiple)
        padded = pad_to(image.to(torch.float32), plan.padded)
        return cls(volume_id, padded, plan, Part.whole(plan), network_grid, grid, grid)

    def __len__(self) -> int:
        """Windows of the part."""
        return len(self.part.numbers)

    @property
    def is_whole(self) -> bool:
        return len(self) == len(self.plan.starts)

    def window(self, number: int) -> torch.Tensor:
        """Network input ``(channel, i, j[, k])`` of one window of the part, a view."""
        places = zip(self.plan.starts[number], self.part.lower, self.plan.size, strict=True)
        region = tuple(slice(first - low, first - low + size) for first, low, size in places)
        return self.image[(slice(None), *region)]

    def view(self, number: int) -> View:
        """Where a window lies in the whole scan."""
        return View(self.plan.starts[number], self.network_grid.shape)
