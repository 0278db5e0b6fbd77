"""A scan as the network takes it, and windows of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import Detector
from pipeline.geometry import Boxes, Grid
from pipeline.inference.windows import WindowPlan, pad_to, windows_of
from pipeline.transforms.preprocessing import prepare
from pipeline.types import Image


@dataclass(frozen=True, eq=False)
class NetworkScan:
    """``image`` float32 ``(channel, i, j[, k])`` in -1 … 1 lies on ``grid``.

    ``working`` are the scan's own voxels in the world that the network works in: the scan's grid, or its pixels where
    the experiment works in pixels.
    """

    image: torch.Tensor
    grid: Grid
    working: Grid

    @classmethod
    def of(cls, image: Image, grid: Grid, config: ExperimentConfig) -> "NetworkScan":
        """Prepare ``image`` ``(channel, i, j[, k])`` as stored, lying on ``grid``, as detection does."""
        working = Grid.of_pixels(grid.shape) if config.data.in_pixels else grid
        prepared = prepare(image, working, config.preprocessing)
        return cls(prepared.image.to(torch.float32), prepared.grid, working)

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes on the scan's grid → on the network's."""
        return Boxes(boxes.lower, boxes.upper, self.working).to(self.grid)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows that detection cuts a scan into: ``padded`` is the scan's image, long enough for all of them."""

    plan: WindowPlan
    padded: torch.Tensor
    grid: Grid

    @classmethod
    def of(cls, network: Detector, config: ExperimentConfig, scan: NetworkScan) -> "Windows":
        plan = windows_of(config, scan.grid.shape, network.coarsest_stride)
        device = next(network.parameters()).device
        return cls(plan, pad_to(scan.image.to(device), plan.padded), scan.grid)

    def __getitem__(self, number: int) -> torch.Tensor:
        """Network input ``(channel, i, j[, k])`` of one window."""
        start = self.plan.starts[number]
        region = tuple(slice(first, first + size) for first, size in zip(start, self.plan.size, strict=True))
        return self.padded[(slice(None), *region)]

    def around(self, point: Sequence[float]) -> list[int]:
        """The windows that see a voxel of the scan, first those that are farthest from having it at their border."""
        inside = {
            n: min(min(p - s, s + size - 1 - p) for p, s, size in zip(point, start, self.plan.size, strict=True))
            for n, start in enumerate(self.plan.starts)
        }
        return sorted((n for n, depth in inside.items() if depth >= -1), key=lambda n: -inside[n])

    def region(self, number: int) -> Grid:
        """The grid of one window, without what lies beyond the scan."""
        start = self.plan.starts[number]
        end = tuple(min(s + n, last) for s, n, last in zip(start, self.plan.size, self.grid.shape, strict=True))
        return self.grid.crop(start, end)
