"""What a model version must show before it becomes the champion."""

import hashlib
import json
from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.base import Config


class Demand(Config):
    """Of a difference challenger − champion. ``better``: above ``margin``; ``not_worse``: at least ``-margin``.

    ``judged_by: interval`` asks the same of the lower end of the difference's interval, and so needs evidence where
    ``value`` takes the difference as it came.
    """

    rule: Literal["better", "not_worse"] = "not_worse"
    judged_by: Literal["value", "interval"] = "value"


class PrimaryDemand(Demand):
    """Of the evaluation's primary figure on the whole test set."""

    margin: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="without one, evaluation.promotion_margin of the challenger's experiment",
    )


class StratumDemand(Demand):
    """Of the primary figure in the strata of one variable."""

    margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    variable: str = Field(min_length=1, description="size, class, or an attribute such as modality or stain")
    levels: tuple[str, ...] = Field((), description="by default every level that the test set has")
    min_objects: int = Field(20, ge=0, description="a level with fewer objects cannot be judged")
    if_fewer: Literal["leave_out", "refuse"] = Field(
        "leave_out", description="what becomes of a level that cannot be judged; either way the reason says so"
    )


class ClassDemand(Config):
    """Of each class figure (``class_f1_<class>``): no drop beyond ``margin``.

    A larger drop passes with ``unless_by_chance`` where the interval of the difference covers 0.
    """

    margin: float = Field(0.02, ge=0, allow_inf_nan=False)
    unless_by_chance: bool = True


class Policy(Config):
    """When a challenger takes the champion's place. The defaults are ``configs/policies/default.yaml``.

    Both must always have been scored on the same test set by the same match rule, and neither may have been shaped by
    a patient of it; no policy can ask for less.
    """

    name: str = Field("default", pattern=r"^[a-z][a-z0-9_]*$")
    primary: PrimaryDemand = PrimaryDemand()
    strata: tuple[StratumDemand, ...] = ()
    classes: ClassDemand | None = ClassDemand()
    min_patients: int = Field(1, ge=1, description="fewer patients in the test set decide nothing")

    @field_validator("strata")
    @classmethod
    def _each_variable_once(cls, strata: tuple[StratumDemand, ...]) -> tuple[StratumDemand, ...]:
        asked = [(one.variable, level) for one in strata for level in one.levels or ("",)]
        if len(set(asked)) != len(asked):
            raise ValueError(f"each level of a variable is asked for once, got {asked}")
        return strata

    def with_margin(self, margin: float) -> "Policy":
        """The same policy with ``margin`` for the primary figure, where it names none itself."""
        if self.primary.margin is not None:
            return self
        return self.model_copy(update={"primary": self.primary.model_copy(update={"margin": margin})})

    def digest(self) -> str:
        """16 hex digits that name what is asked for."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
