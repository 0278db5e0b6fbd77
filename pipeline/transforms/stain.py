"""Variation of haematoxylin and eosin, the dyes of most tissue sections.

Source: colour deconvolution (Ruifrok and Johnston, Analytical and Quantitative Cytology and Histology 23:291, 2001)
with a gain and a shift drawn for each dye (Tellez et al., IEEE TMI 37:2126, 2018).
"""

import math
from functools import cache

import numpy as np
import torch

# Optical density of each dye in red, green and blue (Ruifrok and Johnston); the third direction is normal to both,
# and is left as it is.
_HAEMATOXYLIN, _EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
_DARKEST = 1 / 256  # of 8-bit values: what has no light at all has the density of less than one step


def vary_stain(image: torch.Tensor, gain: tuple[float, ...], shift: tuple[float, ...]) -> torch.Tensor:
    """Each dye's density becomes ``gain * density + shift``, of the densities' natural logarithm.

    A value ``v`` of -1 … 1 is the share ``(v + 1) / 2`` of the light that was let through: -1 is none (0 of 8 bits), 1
    is all of it (255). The result is held within -1 … 1.

    Args:
        image: ``(3, i, j[, k])`` red, green, blue in -1 … 1.
        gain: of haematoxylin and eosin.
        shift: likewise, in units of optical density (natural logarithm).
    """
    dyes = _dyes()
    change = dyes @ np.diag([*gain, 1.0]) @ np.linalg.inv(dyes)
    added = dyes @ np.array([*shift, 0.0])
    # log(share) is minus the density; one matrix, one logarithm and one exponential for all three steps.
    light = image.flatten(1).add(1.0).mul_(0.5).clamp_(min=_DARKEST).log_()
    matrix, offset = torch.from_numpy(change.astype(np.float32)), torch.from_numpy(-added.astype(np.float32))
    light = torch.addmm(offset[:, None].add(math.log(2.0)), matrix, light).exp_()
    return light.sub_(1.0).clamp_(-1.0, 1.0).view(image.shape)


@cache
def _dyes() -> np.ndarray:
    """Columns: haematoxylin, eosin, normal to both."""
    first, second = (np.array(dye) / np.linalg.norm(dye) for dye in (_HAEMATOXYLIN, _EOSIN))
    rest = np.cross(first, second)
    return np.stack([first, second, rest / np.linalg.norm(rest)], axis=1)
