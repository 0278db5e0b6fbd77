"""What the centre detector says."""

from dataclasses import dataclass

import torch


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
