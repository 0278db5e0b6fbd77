"""Linear interpolation along one axis, each place by its own index: a region of a picture comes out as in the whole.

`torch.nn.functional.grid_sample` would not do: its places are shares of the picture's size in 32 bits, a thousandth of
a pixel apart at 40,000, and they ask for the whole picture.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, eq=False)
class Along:
    """Which voxels of an axis make those of another one over the same extent.

    ``source`` is the stretch of the axis that is needed. The n-th result lies between its voxels ``first[n]`` and
    ``second[n]``, at the share ``weight[n]`` (float32) of the way; `None` where each is the n-th voxel itself.
    """

    source: slice
    taken: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, voxels: int, ratio: float, region: slice) -> "Along":
        """Make the voxels ``region`` (of an axis with steps of ``ratio``) from an axis of ``voxels`` with steps of 1.

        Both axes begin at the same edge. Beyond the outermost voxel centres the border is repeated.
        """
        place = np.clip((np.arange(region.start, region.stop) + 0.5) * ratio - 0.5, 0, voxels - 1)
        first = np.floor(place).astype(np.int64)
        second = np.minimum(first + 1, voxels - 1)
        start = int(first[0])
        weight = (place - first).astype(np.float32)
        return cls(slice(start, int(second[-1]) + 1), (first - start, second - start, weight))

    def of_source(self, image: torch.Tensor, axis: int) -> torch.Tensor:
        """``image`` holds the voxels of ``source`` along ``axis``."""
        if self.taken is None:
            return image
        first, second, weight = (torch.from_numpy(one).to(image.device) for one in self.taken)
        share = weight.reshape([-1 if n == axis else 1 for n in range(image.ndim)])
        # Each step rounds by itself, so that no result depends on where it lies in memory.
        lower, upper = image.index_select(axis, first) * (1 - share), image.index_select(axis, second) * share
        return lower + upper
