"""Annotated objects → what every location of the output should say."""

from dataclasses import dataclass

import torch

from pipeline.datasets.samples import Objects

# A location within one standard deviation of an object's peak answers for its class and box.
_RESPONSIBLE = 0.6065
# Objects are drawn in portions, so that thousands of cells in a field do not need a map each.
_PORTION = 64


@dataclass(frozen=True)
class Targets:
    """For one patch with output ``(i, j[, k])``.

    ``score`` is 1 at centres and falls off around them. ``weight`` is 0 where nothing is asked (ignored objects).
    ``where`` ``(m,)`` are flat indices of the responsible locations; ``owner`` ``(m,)`` the object each answers for.
    """

    score: torch.Tensor
    weight: torch.Tensor
    where: torch.Tensor
    owner: torch.Tensor
    objects: int


def draw_targets(objects: Objects, locations: list[torch.Tensor], spread: float) -> Targets:
    """Draw Gaussian peaks, one an object, the highest winning where they meet.

    Args:
        objects: of the patch; centres outside it are drawn as far as they reach in.
        locations: input voxel of each output location, one tensor an axis.
        spread: standard deviation of a peak over the object's edge, at least half an output stride.
    """
    shape = tuple(len(axis) for axis in locations)
    score = torch.zeros(shape, device=locations[0].device)
    owner = torch.full(shape, -1, dtype=torch.long, device=score.device)
    stride = torch.stack([axis[1] - axis[0] if len(axis) > 1 else torch.ones_like(axis[0]) for axis in locations])
    sigma = torch.maximum((objects.upper - objects.lower) * spread, stride * 0.5)
    centre = _nearest_locations((objects.lower + objects.upper) / 2, locations)
    for start in range(0, len(centre), _PORTION):
        part = slice(start, start + _PORTION)
        peaks = _peaks(centre[part], sigma[part], locations)
        best, who = peaks.max(dim=0)
        better = best > score
        score = torch.where(better, best, score)
        owner = torch.where(better, who + start, owner)
    near = (score >= _RESPONSIBLE).flatten()
    ignored = torch.zeros_like(near)
    if objects.ignore.any():
        reached = (score.flatten() > 0.1) & (owner.flatten() >= 0)
        ignored = reached & objects.ignore[owner.flatten().clamp(min=0)]
        score = torch.where(ignored.view(shape), torch.zeros_like(score), score)
    where = torch.nonzero(near & ~ignored).flatten()
    weight = (~ignored).float().view(shape)
    return Targets(score, weight, where, owner.flatten()[where], int((score == 1.0).sum()))


def _nearest_locations(centre: torch.Tensor, locations: list[torch.Tensor]) -> torch.Tensor:
    """Snap centres that lie inside the patch to the nearest location, so that each object has a peak of exactly 1."""
    snapped = []
    for axis, at in enumerate(locations):
        step = float(at[1] - at[0]) if len(at) > 1 else 1.0
        first = float(at[0])
        snapped.append(torch.round((centre[:, axis] - first) / step) * step + first)
    return torch.stack(snapped, dim=1)


def _peaks(centre: torch.Tensor, sigma: torch.Tensor, locations: list[torch.Tensor]) -> torch.Tensor:
    """``(objects, i, j[, k])``: the product of one Gaussian an axis."""
    dims = len(locations)
    peaks = None
    for axis, at in enumerate(locations):
        line = torch.exp(-0.5 * ((at[None] - centre[:, axis : axis + 1]) / sigma[:, axis : axis + 1]) ** 2)
        line = line.view(len(centre), *(len(at) if n == axis else 1 for n in range(dims)))
        peaks = line if peaks is None else peaks * line
    assert peaks is not None
    return peaks
