"""What counts as found, and what is reported."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Config


class CentreDistance(Config):
    """A detection finds an object when its centre lies within ``distance`` of the object's, in the grid's unit."""

    kind: Literal["centre_distance"] = "centre_distance"
    distance: float = Field(gt=0)


class CentreInLesion(Config):
    """LUNA16's rule: the detection's centre lies within the lesion's radius (half its largest world edge)."""

    kind: Literal["centre_in_lesion"] = "centre_in_lesion"


class BoxOverlap(Config):
    """A detection finds an object when their boxes' intersection over union is at least ``iou``."""

    kind: Literal["box_overlap"] = "box_overlap"
    iou: float = Field(0.5, gt=0, le=1)


MatchRule = Annotated[CentreDistance | CentreInLesion | BoxOverlap, Field(discriminator="kind")]
PrimaryMetric = Literal["f1", "average_precision", "cpm", "sensitivity_at_1_fp"]


class EvaluationConfig(Config):
    match: MatchRule
    primary: PrimaryMetric = "f1"
    overlap_ious: tuple[float, ...] = Field((0.25, 0.5), description="box overlaps at which AP is also reported")
    bootstrap_rounds: int = Field(1000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    promotion_margin: float = Field(
        0.0, ge=0, description="a challenger is promoted if its primary metric is not worse than the champion's by more"
    )
