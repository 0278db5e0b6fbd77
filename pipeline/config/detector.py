"""The network."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag

from pipeline.config.base import Config

DEFAULT_DETECTOR = "centre"


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


class ResNet(Config):
    """MONAI's ResNet (batch norm), in 2D or 3D: a strided 7-voxel convolution, a max-pool, then stages.

    Resolution 0 is the first convolution's, resolution ``n`` that of stage ``n``. ``width`` are the channels of the
    first convolution; stages have ``width`` times 1, 2, 4, 8, and four times that at depth 50.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[10, 18, 34, 50] = 50
    width: int = Field(64, ge=4)
    first_stride: int | tuple[int, ...] = Field(2, description="of the first convolution, for all axes or for each")
    stages: int = Field(4, ge=1, le=4)


Backbones = Annotated[ResidualUNet | EfficientNetLite | ResNet, Field(discriminator="kind")]


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


class CentreConfig(Config):
    """One family: backbone → decoder → score, class and distances to the object's edge at every location."""

    # It is not written down: experiments from before there was another kind keep their digest.
    kind: Literal["centre"] = Field("centre", exclude_if=lambda kind: kind == "centre")
    backbone: Backbones = ResidualUNet()
    decoder_width: int = Field(32, ge=4)
    output_level: int = Field(0, ge=0, description="backbone resolution at which objects are predicted; 0 is finest")
    object_spread: float = Field(
        0.18, gt=0, description="boxes: standard deviation of the target peak over the object's size"
    )
    # A peak is not written down: experiments from before there was a choice keep their digest.
    score_target: Literal["peak", "soft"] = Field(
        "peak",
        exclude_if=lambda target: target == "peak",
        description="boxes: 'peak' asks for 1 at the centre and forgives around it, each object counting alike; 'soft' "
        "asks for the whole peak, for objects of about one size",
    )
    # A box is not written down: experiments from before there were outlines keep their digest.
    outline: Annotated[BoxOutline | StarOutline, Field(discriminator="kind")] = Field(
        BoxOutline(), exclude_if=lambda outline: outline == BoxOutline()
    )


class HardNegatives(Config):
    """Cross-entropy of some anchors of each patch, among them those without an object that score highest (MONAI).

    At most ``anchors`` times ``positive_share`` with an object are drawn, and ``(1 - positive_share) / positive_share``
    times as many without one, by chance among the ``pool`` times as many that score highest; at least
    ``least_negatives``.
    """

    kind: Literal["hard_negatives"] = "hard_negatives"
    anchors: int = Field(64, ge=1)
    positive_share: float = Field(0.3, gt=0, lt=1)
    pool: float = Field(20.0, ge=1)
    least_negatives: int = Field(16, ge=1)


class Focal(Config):
    """Focal loss of every anchor, over the number of anchors with an object (RetinaNet, arXiv 1708.02002)."""

    kind: Literal["focal"] = "focal"
    alpha: float = Field(0.25, gt=0, lt=1)
    gamma: float = Field(2.0, ge=0)


class RetinaNetConfig(Config):
    """MONAI's RetinaNet: backbone → feature pyramid → a score for each class and a box at every anchor.

    ``anchor_shapes`` are edges in voxels of the network's grid, at the finest pyramid level; at each next one they
    double. MONAI rounds half an edge to whole voxels. The pyramid has the backbone's resolutions from ``output_level``
    on and one more, half as fine as the last.
    """

    kind: Literal["retinanet"]
    backbone: Backbones = ResNet()
    output_level: int = Field(1, ge=0, description="backbone resolution of the finest pyramid level")
    pyramid_width: int = Field(256, ge=8, multiple_of=8)
    anchor_shapes: tuple[tuple[float, ...], ...] = Field(min_length=1)
    anchors_an_object: int = Field(4, ge=1, description="candidates of each shape and level that ATSS considers")
    scores: Annotated[HardNegatives | Focal, Field(discriminator="kind")] = HardNegatives()
    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"

    @property
    def outline(self) -> BoxOutline:
        return BoxOutline()


def _kind(given: Any) -> str:
    kind = given.get("kind", DEFAULT_DETECTOR) if isinstance(given, dict) else getattr(given, "kind", DEFAULT_DETECTOR)
    return str(kind)


DetectorConfig = Annotated[
    Annotated[CentreConfig, Tag("centre")] | Annotated[RetinaNetConfig, Tag("retinanet")], Discriminator(_kind)
]


class InferenceConfig(Config):
    """From candidates to detections."""

    window: tuple[PositiveInt, ...] = Field(description="largest window given to the network, in voxels of its grid")
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
    # Left out where it is on: experiments from before there was a choice keep their digest.
    skip_background: bool = Field(
        True,
        exclude_if=lambda skip: skip,
        description="windows of nothing but air, padding or glass are not given to the network, where it is shown to "
        "see nothing in such",
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
