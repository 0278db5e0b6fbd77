"""What the centre detector says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Maps:
    """What the network says at every location of its output grid ``(i, j[, k])``.

    ``score`` ``(batch, i, j[, k])``: logit that an object's centre is here. ``classes`` ``(batch, class, …)``: logits.
    ``distances`` ``(batch, 2 * d, …)``: from the location to the lower sides (first ``d``) and to the upper sides
    of the box, in voxels of the INPUT grid, positive outwards; of a star ``(batch, rays, i, j)``: along its rays.
    ``grade`` ``(batch, i, j[, k])``: logit of the grade, `None` where none is learnt.
    """

    score: torch.Tensor
    classes: torch.Tensor
    distances: torch.Tensor
    grade: torch.Tensor | None = None


def averaged(maps: Sequence[Maps]) -> Maps:
    """The mean of what several say of the same places: of probabilities, not of logits, and of distances.

    Scores and grades are logits of the mean probability and classes logarithms of it, exact near 0 and 1.
    """
    shares = torch.stack([torch.log_softmax(one.classes, dim=1) for one in maps])
    grades = [one.grade for one in maps if one.grade is not None]
    return Maps(
        mean_logit([one.score for one in maps]),
        torch.logsumexp(shares, dim=0) - math.log(len(maps)),
        torch.stack([one.distances for one in maps]).mean(dim=0),
        mean_logit(grades) if grades else None,
    )


def mean_logit(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """The logit of the mean probability, exact near 0 and 1."""
    said = torch.stack(list(logits))
    yes, no = (torch.logsumexp(functional.logsigmoid(sign * said), dim=0) for sign in (1, -1))
    return yes - no
