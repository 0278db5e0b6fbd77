"""The network."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Config


class ResidualUNet(Config):
    """A residual encoder trained from scratch, in 2D or 3D.

    ``widths`` are the channels of each resolution, from fine to coarse. ``strides`` are the steps between them, one
    for each after the first: an integer, or one an axis for anisotropic volumes.
    """

    kind: Literal["residual_unet"] = "residual_unet"
    widths: tuple[int, ...] = Field((16, 32, 64, 128), min_length=2)
    strides: tuple[int | tuple[int, ...], ...] = (2, 2, 2)
    blocks: int = Field(1, ge=1, description="residual blocks a resolution")


class EfficientNetLite(Config):
    """EfficientNet-Lite0 with ImageNet weights from its package (2D, three channels)."""

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    pretrained: bool = True


class BoxOutline(Config):
    """Objects are boxes: the distances from a location to the sides."""

    kind: Literal["box"] = "box"


class StarOutline(Config):
    """Objects are star-convex polygons (2D): the distances to the edge along ``rays`` directions, evenly spaced.

    Training needs annotations with masks. ``rays`` is a multiple of 4, so that flips and quarter turns of a patch map
    rays onto rays.
    """

    kind: Literal["star"] = "star"
    rays: int = Field(32, ge=8, le=256, multiple_of=4)


class DetectorConfig(Config):
    """One family: backbone → decoder → score, class and distances to the object's edge at every location."""

    backbone: Annotated[ResidualUNet | EfficientNetLite, Field(discriminator="kind")] = ResidualUNet()
    decoder_width: int = Field(32, ge=4)
    output_level: int = Field(0, ge=0, description="backbone resolution at which objects are predicted; 0 is finest")
    object_spread: float = Field(
        0.18, gt=0, description="boxes: standard deviation of the target peak over the object's size"
    )
    # A box is not written down: experiments from before there were outlines keep their digest.
    outline: Annotated[BoxOutline | StarOutline, Field(discriminator="kind")] = Field(
        BoxOutline(), exclude_if=lambda outline: outline == BoxOutline()
    )


class InferenceConfig(Config):
    """From candidates to detections."""

    window: tuple[int, ...] = Field(description="largest window given to the network, in voxels of its grid")
    overlap: float = Field(0.25, ge=0, lt=1)
    batch_size: int = Field(4, ge=1)
    # Left out as long as it is not used: experiments from before there were views keep their digest.
    views: Literal["none", "flips", "dihedral"] = Field(
        "none",
        exclude_if=lambda views: views == "none",
        description="how often the network sees a window: once; flipped along the axes that training flips; or also by "
        "quarter turns in the i, j plane. What it says is averaged",
    )
    precision: Literal["32", "auto"] = Field(
        "32",
        exclude_if=lambda precision: precision == "32",
        description="auto: half precision (bf16) where the first scans give the same detections as in 32 bits",
    )
    score_floor: float = Field(0.05, gt=0, lt=1, description="candidates below are not kept at all")
    suppression_iou: float = Field(
        0.4,
        gt=0,
        le=1,
        description="of two objects whose boxes (or star-convex masks) share more, the lower score goes",
    )
    suppression_distance: float = Field(
        0.0, ge=0, description="of two centres that are nearer, in the volume's unit, the lower score goes"
    )
