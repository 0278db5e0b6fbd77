"""How a volume becomes network input, and how it is varied in training."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PositiveInt, model_validator

from pipeline.config.base import Config

_HARD = 0.1


class Window(Config):
    """A fixed intensity range, mapped to -1 … 1: Hounsfield units in CT, 0 … 255 in 8-bit images."""

    kind: Literal["window"] = "window"
    lower: float
    upper: float

    @model_validator(mode="after")
    def _is_a_range(self) -> "Window":
        return _rising(self)


class Percentiles(Config):
    """Each image's own percentiles, mapped to -1 … 1: MR and fluorescence have no fixed unit."""

    kind: Literal["percentiles"] = "percentiles"
    lower: float = Field(1.0, ge=0, le=100)
    upper: float = Field(99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _is_a_range(self) -> "Percentiles":
        return _rising(self)


Range = TypeVar("Range", Window, Percentiles)


def _rising(given: Range) -> Range:
    if given.lower >= given.upper:
        raise ValueError(f"intensity.lower must be below intensity.upper, got {given.lower:g} and {given.upper:g}")
    return given


class PreprocessingConfig(Config):
    """``spacing``: voxel spacing of the network's grid in the volume's unit; ``None`` keeps each volume's own."""

    spacing: tuple[float, ...] | None = None
    intensity: Annotated[Window | Percentiles, Field(discriminator="kind")]
    channels: int = Field(1, ge=1)


def _later(top: float | None, description: str) -> Any:
    """A strength that older experiments did not have: at 0 it is not written down, so that they keep their digest."""
    return Field(0.0, ge=0, le=top, description=description, exclude_if=lambda value: value == 0)


class AugmentationConfig(Config):
    """Strengths; 0 switches one off."""

    flip: tuple[int, ...] = Field((), description="spatial axes that may be flipped: 0 = i, 1 = j, 2 = k")
    rotate90: bool = Field(False, description="quarter turns in the i, j plane")
    rotation: float = _later(180.0, "turns in the i, j plane by up to so many degrees, both ways")
    scale: float = Field(0.0, ge=0, lt=1, description="zoom by up to this share, both ways, along each axis apart")
    elastic: float = _later(
        None, "standard deviation of a smooth displacement in half of all patches, in voxels of the finest axis"
    )
    stain: float = _later(
        1.0,
        "haematoxylin and eosin: gain of each by up to this share, and shift by up to this optical density (natural "
        "logarithm); needs red, green and blue that are scaled from 0",
    )
    gamma: float = _later(None, "in 3 of 10 patches: values to a power between 1 / (1 + gamma) and 1 + gamma")
    contrast: float = Field(0.0, ge=0, description="per-channel gain by up to this share")
    brightness: float = Field(0.0, ge=0, description="per-channel shift, in units of the -1 … 1 range")
    noise: float = Field(0.0, ge=0, description="largest standard deviation of noise, added to 3 of 10 patches")
    blur: float = Field(0.0, ge=0, description="largest sigma of Gaussian blur in voxels, in 2 of 10 patches")


class SamplingConfig(Config):
    """How training patches are drawn."""

    patch: tuple[PositiveInt, ...] = Field(description="patch size in voxels of the network's grid")
    object_share: float = Field(0.7, ge=0, le=1, description="share of patches centred near an object")
    class_balance: float = _later(
        1.0, "share of the patches centred near an object for which each class is as likely, however rare"
    )
    each_counts: Literal["volume", "object"] = Field(
        "volume",
        description="patches centred near an object: each volume is as likely, or each object",
        exclude_if=lambda value: value == "volume",
    )
    hard_negative_share: float = _later(
        1.0,
        "share of patches centred near a false detection; each validation looks for some in as many training cases as "
        "it has itself",
    )
    hard_negative_score: float = Field(
        _HARD,
        ge=0,
        le=1,
        exclude_if=lambda score: score == _HARD,
        description="score from which a false detection is a hard negative",
    )
    samples_per_epoch: int = Field(ge=1)
