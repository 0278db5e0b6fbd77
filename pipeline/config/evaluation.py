"""What counts as found, and what is reported."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.config.base import Config

Assignment = Literal["greedy", "optimal"]
LengthUnit = Literal["px", "um", "mm"]


class _Rule(Config):
    """Which pairs may match; ``assignment`` chooses among them (see `pipeline.evaluation.assignment`)."""

    assignment: Assignment = Field(
        "greedy", description="greedy: highest score first, nearest object; optimal: as many found as possible"
    )


class CentreDistance(_Rule):
    """A detection finds an object when its centre lies within ``distance`` of the object's.

    ``unit`` says what ``distance`` is: ``mm`` or ``um`` for images with a physical size, ``px`` for pixels of a 2D
    image as acquired, with or without one. Without it, the distance is in the grid's own unit.
    """

    kind: Literal["centre_distance"] = "centre_distance"
    distance: float = Field(gt=0)
    unit: LengthUnit | None = None


class CentreInLesion(_Rule):
    """LUNA16's rule: the detection's centre lies within the lesion's radius (half its largest world edge)."""

    kind: Literal["centre_in_lesion"] = "centre_in_lesion"


class BoxOverlap(_Rule):
    """A detection finds an object when their boxes' intersection over union is at least ``iou``."""

    kind: Literal["box_overlap"] = "box_overlap"
    iou: float = Field(0.5, gt=0, le=1)


class MaskOverlap(_Rule):
    """A detection finds an object when their masks' intersection over union is at least ``iou``."""

    kind: Literal["mask_overlap"] = "mask_overlap"
    iou: float = Field(0.5, gt=0, le=1)


MatchRule = Annotated[CentreDistance | CentreInLesion | BoxOverlap | MaskOverlap, Field(discriminator="kind")]
PrimaryMetric = Literal["f1", "average_precision", "cpm", "sensitivity_at_0_25_fp", "sensitivity_at_1_fp"]


class EvaluationConfig(Config):
    match: MatchRule
    primary: PrimaryMetric = "f1"
    # Left out as long as it is not used: experiments from before it could be chosen keep their digest.
    threshold: Literal["one", "per_class"] = Field(
        "one",
        exclude_if=lambda threshold: threshold == "one",
        description="score above which detections count: one for all classes, or one for each (see with_one_threshold)",
    )
    overlap_ious: tuple[float, ...] = Field(
        (0.25, 0.5), description="overlaps at which AP and the Jaccard index are also reported"
    )
    bootstrap_rounds: int = Field(1000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    strata: tuple[str, ...] = Field(
        ("size", "class", "modality", "manufacturer", "manufacturer_model_name", "stain"),
        description="by what figures are also given: size, class, or attributes of the scans; absent ones are left out",
    )
    size_limits: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, min_length=1, description="borders between sizes (largest edge, mm or px); by default the terciles"
    )

    @field_validator("size_limits")
    @classmethod
    def _rising(cls, limits: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if limits is not None and any(low >= up for low, up in pairwise(limits)):
            raise ValueError(f"borders between sizes must rise, got {list(limits)}")
        return limits
