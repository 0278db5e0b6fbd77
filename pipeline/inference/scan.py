"""A scan on its way through the network: prepared, padded, divided into windows."""

from dataclasses import dataclass

import torch

from pipeline.config.detector import InferenceConfig
from pipeline.detectors.detector import View
from pipeline.geometry import Grid
from pipeline.inference.windows import WindowPlan, pad_to, plan_windows


@dataclass(frozen=True, eq=False)
class Scan:
    """``image`` float32 ``(channel, i, j[, k])`` lies on ``network_grid`` and is padded to ``plan.padded``, on the
    network's device; detections are wanted on ``grid``, whose voxels are those of ``own_grid``, the volume's, in the
    world that the network works in.

    ``ends`` has one entry a window: -1 or 1 where all of it lies near that end of the network's input (see
    `pipeline.inference.background`), otherwise 0.
    """

    volume_id: str
    image: torch.Tensor
    plan: WindowPlan
    network_grid: Grid
    grid: Grid
    own_grid: Grid
    ends: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        volume_id: str,
        image: torch.Tensor,
        network_grid: Grid,
        grid: Grid,
        inference: InferenceConfig,
        multiple: tuple[int, ...],
    ) -> "Scan":
        """Plan the windows of network input ``(channel, i, j[, k])``; their edges are multiples of ``multiple``."""
        plan = plan_windows(tuple(image.shape[1:]), inference.window, inference.overlap, multiple)
        padded = pad_to(image.to(torch.float32), plan.padded)
        return cls(volume_id, padded, plan, network_grid, grid, grid)

    def __len__(self) -> int:
        """Windows."""
        return len(self.plan.starts)

    def window(self, number: int) -> torch.Tensor:
        """Network input ``(channel, i, j[, k])`` of one window, a view."""
        start = self.plan.starts[number]
        region = tuple(slice(first, first + size) for first, size in zip(start, self.plan.size, strict=True))
        return self.image[(slice(None), *region)]

    def view(self, number: int) -> View:
        """Where a window lies in the scan."""
        return View(self.plan.starts[number], self.network_grid.shape)
