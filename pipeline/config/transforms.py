"""How a volume becomes network input, and how it is varied in training."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Config


class Window(Config):
    """A fixed intensity range, mapped to -1 … 1: Hounsfield units in CT, 0 … 255 in 8-bit images."""

    kind: Literal["window"] = "window"
    lower: float
    upper: float


class Percentiles(Config):
    """Each image's own percentiles, mapped to -1 … 1: MR and fluorescence have no fixed unit."""

    kind: Literal["percentiles"] = "percentiles"
    lower: float = 1.0
    upper: float = 99.8


class PreprocessingConfig(Config):
    """``spacing``: voxel spacing of the network's grid in the volume's unit; ``None`` keeps each volume's own."""

    spacing: tuple[float, ...] | None = None
    intensity: Annotated[Window | Percentiles, Field(discriminator="kind")]
    channels: int = Field(1, ge=1)


class AugmentationConfig(Config):
    """Strengths; 0 switches one off."""

    flip: tuple[int, ...] = Field((), description="spatial axes that may be flipped: 0 = i, 1 = j, 2 = k")
    rotate90: bool = Field(False, description="quarter turns in the i, j plane")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by up to this share, both ways")
    contrast: float = Field(0.0, ge=0, description="per-channel gain by up to this share")
    brightness: float = Field(0.0, ge=0, description="per-channel shift, in units of the -1 … 1 range")
    noise: float = Field(0.0, ge=0, description="standard deviation of added noise")
    blur: float = Field(0.0, ge=0, description="largest sigma of Gaussian blur, in voxels")


class SamplingConfig(Config):
    """How training patches are drawn."""

    patch: tuple[int, ...] = Field(description="patch size in voxels of the network's grid")
    object_share: float = Field(0.7, ge=0, le=1, description="share of patches centred near an object")
    samples_per_epoch: int = Field(ge=1)
