"""Optimisation."""

from typing import Literal

from pydantic import Field

from pipeline.config.base import Config

_GRADE_WEIGHT = 0.5


class TrainingConfig(Config):
    seed: int | None = Field(
        None,
        ge=0,
        description="of first weights and patches; by default the experiment's, which also divides the data",
    )
    max_epochs: int = Field(ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1, description="share of all steps over which the rate rises")
    average_decay: float = Field(0.99, ge=0, lt=1, description="of the exponential moving average of weights; 0: none")
    gradient_clip: float = Field(5.0, gt=0)
    precision: Literal["32", "bf16"] = "32"
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    box_weight: float = Field(1.0, ge=0)
    class_weight: float = Field(0.5, ge=0)
    # Written down where it is not this: experiments from before there were grades keep their digest.
    grade_weight: float = Field(_GRADE_WEIGHT, ge=0, exclude_if=lambda weight: weight == _GRADE_WEIGHT)
    workers: int = Field(0, ge=0, description="processes that prepare patches; 0: in the training process")
    initial_weights: str | None = Field(
        None,
        description="a registered version to transfer from, e.g. 'name@champion'; layers that differ start anew",
    )
