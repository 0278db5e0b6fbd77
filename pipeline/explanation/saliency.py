"""Which voxels raised the score of one detection.

Integrated gradients (Sundararajan, Taly, Yan 2017, arXiv 1703.01365) of the score's logit at the detection's location:
the logit's slope, averaged along the straight way from a baseline to the window, times the difference between the two.
The parts add up to the difference of the two logits, so that a voxel's part is its share in the score. The baseline
must be an image without the object: here the window blurred by the object's own size, so that what remains at
its place is the level of its surroundings (a black or grey baseline would call tissue of that level irrelevant;
Sturmfels et al. 2020, doi 10.23915/distill.00022).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from pipeline.detectors.detector import CentreBoxDetector
from pipeline.explanation.origin import Origin
from pipeline.geometry import Grid

STEPS = 24


@dataclass(frozen=True, eq=False)
class Saliency:
    """``values`` float32 ``(i, j[, k])`` on ``grid``, summed over channels: positive voxels raised the score's logit.

    ``logit`` is that of the detection, ``baseline_logit`` that of the same place in the baseline; the values of the
    whole window add up to their difference, but for the error of the numeric integral.
    """

    values: np.ndarray
    grid: Grid
    logit: float
    baseline_logit: float

    @cached_property
    def completeness(self) -> float:
        """Sum of all values over the difference of the logits; 1 where the integral is exact."""
        difference = self.logit - self.baseline_logit
        return float(self.values.sum(dtype=np.float64)) / difference if difference else float("nan")

    def on(self, grid: Grid) -> np.ndarray:
        """The map at the voxels of another grid of the same world, float32 of its shape; 0 outside the window.

        Interpolated linearly between the network's voxels, not rescaled: each value is that of a network voxel.
        """
        matrix = self.grid.inverse @ grid.affine
        moved = affine_transform(
            self.values, matrix[:-1, :-1], matrix[:-1, -1], grid.shape, order=1, mode="grid-constant"
        )
        return np.asarray(moved, dtype=np.float32)


def saliency(network: CentreBoxDetector, origin: Origin, steps: int = STEPS) -> Saliency:
    """Attribute the score of a detection to the voxels of its window.

    Args:
        network: in evaluation form; its weights stay as they are.
        origin: see `find_origin`.
        steps: of the numeric integral, by the midpoint rule.
    """
    baseline = blurred(origin)
    parts = _integrated_gradients(network, origin, baseline, steps).sum(dim=0)
    values = parts.cpu().numpy().astype(np.float32)[tuple(slice(n) for n in origin.grid.shape)]
    logits = [logit_at(network, image, origin) for image in (origin.image, baseline)]
    return Saliency(values, origin.grid, logits[0], logits[1])


def blurred(origin: Origin) -> torch.Tensor:
    """The baseline: the window, smoothed by a Gaussian whose sigma along each axis is the box's edge."""
    sigma = np.maximum(origin.upper - origin.lower, 1.0)
    smooth = gaussian_filter(origin.image.cpu().numpy(), (0, *sigma), mode="nearest", truncate=3.0)
    return torch.from_numpy(smooth).to(origin.image.device)


@torch.no_grad()
def logit_at(network: CentreBoxDetector, image: torch.Tensor, origin: Origin) -> float:
    """Logit of the score at the origin's location for another image ``(channel, i, j[, k])`` of the window."""
    return float(network(image[None]).score[0][origin.location])


def _integrated_gradients(
    network: CentreBoxDetector, origin: Origin, baseline: torch.Tensor, steps: int
) -> torch.Tensor:
    """``(channel, i, j[, k])``; the same weights and window give the same bits on the same device."""
    difference = origin.image - baseline
    total = torch.zeros_like(difference)
    with torch.enable_grad(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        for step in range(steps):
            image = (baseline + difference * ((step + 0.5) / steps)).detach().requires_grad_()
            logit = network(image[None]).score[0][origin.location]
            total += torch.autograd.grad(logit, image)[0]
    return (difference * total / steps).detach()
