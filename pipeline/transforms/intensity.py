"""Variation of a patch's values, as drawn."""

import torch
from monai.networks.layers import gaussian_1d
from monai.networks.layers.simplelayers import separable_filtering

from pipeline.transforms.stain import vary_stain
from pipeline.transforms.variation import Intensity


def vary_intensity(image: torch.Tensor, drawn: Intensity) -> torch.Tensor:
    """``image`` ``(channel, i, j[, k])`` in -1 … 1 → the same with other stain, exposure, sharpness and noise.

    Gain and shift differ by channel, since staining and exposure differ from lab to lab; their result is held within
    the -1 … 1 that the network was promised. ``image`` itself is not changed.
    """
    if drawn.dye_gain is not None and drawn.dye_shift is not None:
        image = vary_stain(image, drawn.dye_gain, drawn.dye_shift)
    if drawn.gamma != 1.0:  # resampling may leave a value a rounding below -1, of which there is no power
        image = image.add(1.0).mul_(0.5).clamp_(min=0.0).pow_(drawn.gamma).mul_(2.0).sub_(1.0)
    if any(one != 1.0 for one in drawn.gain) or any(drawn.shift):
        each = (-1, *(1,) * (image.ndim - 1))
        image = image.mul(torch.tensor(drawn.gain).view(each))
        image.add_(torch.tensor(drawn.shift).view(each)).clamp_(-1.0, 1.0)
    if any(drawn.blur):
        image = _blurred(image, drawn.blur)
    if drawn.noise:
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(drawn.noise_seed))
        image = image.add(noise, alpha=drawn.noise)
    return image


def _blurred(image: torch.Tensor, sigmas: tuple[float, ...]) -> torch.Tensor:
    """MONAI's `RandGaussianSmooth` fills up with zeros: a patch would end in a grey frame."""
    kernels = [gaussian_1d(torch.tensor(max(sigma, 1e-3)), truncated=4.0) for sigma in sigmas]
    return separable_filtering(image[None], kernels, mode="replicate")[0]
