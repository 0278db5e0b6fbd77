"""Random variation of training patches, by MONAI, with boxes that follow through the affine.

MONAI's spatial transforms keep the patch's affine up to date, so a box is carried by geometry alone: from the patch's
old grid to its new one. No transform needs to know about boxes.
"""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    RandAffine,
    RandFlip,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandRotate90,
    Transform,
)
from monai.transforms.transform import RandomizableTransform

from pipeline.config.transforms import AugmentationConfig
from pipeline.geometry import Boxes, Grid


class RandChannelGain(RandomizableTransform):
    """Gain and shift drawn for each channel apart: staining and exposure differ from lab to lab.

    The result is held within the -1 … 1 that the network was promised.
    """

    def __init__(self, contrast: float, brightness: float) -> None:
        super().__init__(prob=1.0)
        self.contrast, self.brightness = contrast, brightness

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.randomize(None)
        shape = (image.shape[0],) + (1,) * (image.ndim - 1)
        gain = 1.0 + self.R.uniform(-self.contrast, self.contrast, shape)
        shift = self.R.uniform(-self.brightness, self.brightness, shape)
        varied = image * torch.as_tensor(gain, dtype=image.dtype) + torch.as_tensor(shift, dtype=image.dtype)
        return varied.clamp(-1.0, 1.0)


class Augmentation:
    """Draws and applies one variation for each seed: the same seed gives the same patch."""

    def __init__(self, config: AugmentationConfig, dims: int) -> None:
        self._compose = Compose(_transforms(config, dims))

    def __call__(self, image: torch.Tensor, boxes: Boxes, seed: int) -> tuple[torch.Tensor, Boxes]:
        """Vary a patch.

        Args:
            image: ``(channel, i, j[, k])`` in -1 … 1, on ``boxes.grid``.
            boxes: on the patch's grid; may reach beyond it.
            seed: which variation.
        """
        if not self._compose.transforms:
            return image, boxes
        self._compose.set_random_state(seed=seed % 2**32)
        varied = self._compose(MetaTensor(image, affine=torch.as_tensor(boxes.grid.affine.copy())))
        matrix = varied.affine.numpy()[: boxes.grid.dims + 1, : boxes.grid.dims + 1].copy()
        if matrix.shape != boxes.grid.affine.shape:
            raise AssertionError(f"MONAI returned an affine of {matrix.shape} for {boxes.grid.dims} axes")
        grid = Grid(tuple(varied.shape[1:]), matrix.astype(np.float64), boxes.grid.unit)
        return varied.as_tensor().contiguous(), boxes.to(grid)


def _transforms(config: AugmentationConfig, dims: int) -> list[Transform]:
    steps: list[Transform] = [RandFlip(prob=0.5, spatial_axis=axis) for axis in config.flip]
    if config.rotate90:
        steps.append(RandRotate90(prob=0.75, max_k=3, spatial_axes=(0, 1)))
    if config.scale:
        span = [(-config.scale, config.scale)] * dims
        # prob must be 1: when MONAI 1.6.1's RandAffine does not fire, it leaves the image and still multiplies
        # the affine by the PREVIOUS call's matrix, so boxes would move and their object would not.
        steps.append(RandAffine(prob=1.0, scale_range=span, padding_mode="border", cache_grid=False))
    if config.contrast or config.brightness:
        steps.append(RandChannelGain(config.contrast, config.brightness))
    if config.blur:
        sigma = (0.0, config.blur)
        steps.append(RandGaussianSmooth(prob=0.2, sigma_x=sigma, sigma_y=sigma, sigma_z=sigma))
    if config.noise:
        steps.append(RandGaussianNoise(prob=0.3, std=config.noise))
    return steps
