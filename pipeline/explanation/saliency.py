"""Which voxels raised the score of one detection.

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365) of the score's logit at the detection's location:
the logit's slope, averaged along the straight way from a baseline to the window, times the difference between the two.
The parts add up to the difference of the two logits, so that a voxel's part is its share in the score. The baseline
must be an image without the object: here the window blurred by the object's own size, so that what remains at
its place is the level of its surroundings (a black or grey baseline would call tissue of that level irrelevant;
Sturmfels et al. 2020, doi 10.23915/distill.00022). Nothing is added by chance (no smoothing over noisy copies), so
that the same weights and scan give the same map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from pipeline.detectors.detector import Detector
from pipeline.explanation.origin import Origin
from pipeline.geometry import Grid

# Each is three times the one before: the midpoint rule then uses the slopes again that it has.
STEPS = (8, 24, 72)
MOST_RESIDUAL = 0.05


@dataclass(frozen=True, eq=False)
class Saliency:
    """``values`` float32 ``(i, j[, k])`` on ``grid``, summed over channels: positive voxels raised the score's logit.

    ``logit`` is that of the detection, ``baseline_logit`` that of the same place in the baseline; ``total``, the sum
    over the whole window and what it was padded by, is their difference but for the error of the numeric integral,
    which took ``steps``.
    """

    values: np.ndarray
    grid: Grid
    logit: float
    baseline_logit: float
    total: float
    steps: int

    @property
    def residual(self) -> float:
        """``total`` less the rise of the logit above the baseline's; 0 where the integral is exact."""
        return self.total - (self.logit - self.baseline_logit)

    @property
    def relative_residual(self) -> float:
        """The residual's magnitude over that of the rise; NaN without a rise."""
        rise = abs(self.logit - self.baseline_logit)
        return abs(self.residual) / rise if rise else float("nan")

    def on(self, grid: Grid) -> np.ndarray:
        """The map at the voxels of another grid of the same world, float32 of its shape; 0 outside the window.

        Interpolated linearly between the network's voxels, not rescaled: each value is that of a network voxel.
        """
        matrix = self.grid.inverse @ grid.affine
        moved = affine_transform(
            self.values, matrix[:-1, :-1], matrix[:-1, -1], grid.shape, order=1, mode="grid-constant"
        )
        return np.asarray(moved, dtype=np.float32)


def saliency(network: Detector, origin: Origin, steps: Sequence[int] = STEPS) -> Saliency:
    """Attribute the score of a detection to the voxels of its window.

    Args:
        network: in evaluation form; its weights stay as they are.
        origin: see `find_origin`.
        steps: of the numeric integral, by the midpoint rule; each number is three times the one before, and the next
            is tried while the residual is above 5 % of the rise. The last is kept as it is.
    """
    baseline = blurred(origin)
    logit, start = (logit_at(network, image, origin) for image in (origin.image, baseline))
    difference = origin.image - baseline
    total = torch.zeros_like(difference)
    for count in steps:
        total += _slopes(network, origin, baseline, difference, _new_places(count, again=count != steps[0]))
        parts = (difference * total / count).sum(dim=0)
        values = parts.cpu().numpy().astype(np.float32)[tuple(slice(n) for n in origin.grid.shape)]
        found = Saliency(values, origin.grid, logit, start, float(parts.sum(dtype=torch.float64)), count)
        if found.relative_residual <= MOST_RESIDUAL:
            break
    return found


def blurred(origin: Origin) -> torch.Tensor:
    """The baseline: the window, smoothed by a Gaussian whose sigma along each axis is the box's edge."""
    sigma = np.maximum(origin.upper - origin.lower, 1.0)
    smooth = gaussian_filter(origin.image.cpu().numpy(), (0, *sigma), mode="nearest", truncate=3.0)
    return torch.from_numpy(smooth).to(origin.image.device)


@torch.no_grad()
def logit_at(network: Detector, image: torch.Tensor, origin: Origin) -> float:
    """Logit of the score at the origin's location for another image ``(channel, i, j[, k])`` of the window."""
    return float(_logit(network, image, origin))


def _new_places(count: int, again: bool) -> list[float]:
    """Midpoints of ``count`` equal parts of 0 … 1; ``again``: but for those of a third as many, every third from the
    second on."""
    return [(n + 0.5) / count for n in range(count) if not (again and n % 3 == 1)]


def _slopes(
    network: Detector, origin: Origin, baseline: torch.Tensor, difference: torch.Tensor, places: list[float]
) -> torch.Tensor:
    """Sum of the logit's slopes ``(channel, i, j[, k])``; the same bits each time on the same device."""
    total = torch.zeros_like(difference)
    with torch.enable_grad(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        for place in places:
            image = (baseline + difference * place).detach().requires_grad_()
            total += torch.autograd.grad(_logit(network, image, origin), image)[0]
    return total


def _logit(network: Detector, image: torch.Tensor, origin: Origin) -> torch.Tensor:
    return network.logits(network(image[None]))[origin.level][0][origin.location]
