"""Optimisation. What came after the first experiments is not written down at its default: they keep their digest."""

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
    precision: Literal["32", "bf16", "auto"] = Field(
        "32",
        description="auto: bf16 where the device computes it and a check on the first batch passes, else 32",
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    patience: int = Field(
        0,
        ge=0,
        exclude_if=lambda patience: patience == 0,
        description="validations in a row without a better metric that end the training; 0: never",
    )
    box_weight: float = Field(1.0, ge=0)
    class_weight: float = Field(0.5, ge=0)
    class_weighting: Literal["none", "inverse_sqrt", "effective"] = Field(
        "none",
        exclude_if=lambda weighting: weighting == "none",
        description="weight of each class in the class loss, from the number of training objects: 1 / sqrt(n), or by "
        "the effective number of objects (arXiv 1901.05555)",
    )
    # Written down where it is not this: experiments from before there were grades keep their digest.
    grade_weight: float = Field(_GRADE_WEIGHT, ge=0, exclude_if=lambda weight: weight == _GRADE_WEIGHT)
    workers: int = Field(0, ge=0, description="processes that prepare patches; 0: in the training process")
    initial_weights: str | None = Field(
        None,
        description="what to transfer from: a registered version ('name@champion', 'name/3'), a starter model "
        "('starter/name'), or the path of a bundle or of its .safetensors, beginning with / ./ ../ or ~; layers that "
        "differ start anew",
    )
    frozen_stages: int = Field(
        0,
        ge=0,
        exclude_if=lambda stages: stages == 0,
        description="this many of the backbone's stages, from the finest, do not learn",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        exclude_if=lambda decay: decay == 1.0,
        description="learning rate of a backbone stage over that of the next; decoder and heads have the full rate",
    )
