"""What a model version must show before it becomes the champion."""

import hashlib
import json
from typing import Annotated, Literal

import yaml
from pydantic import Field, field_validator

from pipeline.config.base import Config
from pipeline.config.evaluation import PrimaryMetric


class Demand(Config):
    """Of a difference challenger − champion. ``better``: above ``margin``; ``not_worse``: at least ``-margin``.

    ``judged_by: interval`` asks it of the lower end of the difference's interval, and of ``better`` a permutation
    test's p as well: a small test set then promotes nobody. ``value`` takes the difference as it came: of two versions
    that are equally good it promotes every second one.
    """

    rule: Literal["better", "not_worse"] = "not_worse"
    judged_by: Literal["value", "interval"] = "interval"


class PrimaryDemand(Demand):
    """Of one figure on the whole test set, and of the best that any champion reached on it.

    Successors that are each a margin worse than the last would lead far down: the challenger's figure may not be below
    that of the best earlier champion on the same test set by more than the margin either.
    """

    metric: PrimaryMetric | None = Field(None, description="without one, the primary metric of both evaluations")
    margin: float = Field(0.02, ge=0, allow_inf_nan=False)


class StratumDemand(Demand):
    """Of the figure by which strata are compared (`pipeline.evaluation.compare`) in the levels of one variable."""

    margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    variable: str = Field(min_length=1, description="size, class, or an attribute such as modality or stain")
    levels: tuple[str, ...] = Field((), description="by default every level that the test set has")
    min_objects: int = Field(20, ge=0, description="a level with fewer objects cannot be judged")
    min_patients: int = Field(5, ge=0, description="nor can one with objects of fewer patients")
    if_fewer: Literal["leave_out", "refuse"] = Field(
        "leave_out", description="what becomes of a level that cannot be judged; either way the reason says so"
    )
    if_absent: Literal["leave_out", "refuse"] = Field(
        "refuse", description="where the test set is not divided by this variable (points have no size)"
    )


class ClassDemand(Config):
    """Of each class figure (``class_f1_<class>``): no unexplained drop beyond ``margin``.

    A larger drop passes where ``explained`` says why, or with ``unless_by_chance`` where its interval covers 0 on a
    test set that would have shown a true drop of ``margin`` with 80 % power. On a smaller one "it may be chance" would
    excuse any drop.
    """

    margin: float = Field(0.05, ge=0, allow_inf_nan=False)
    unless_by_chance: bool = True
    min_objects: int = Field(20, ge=0, description="a class with fewer objects cannot be judged")
    min_patients: int = Field(5, ge=0, description="nor can one with objects of fewer patients")
    if_fewer: Literal["leave_out", "refuse"] = Field(
        "leave_out", description="what becomes of a class that cannot be judged; either way the reason says so"
    )
    explained: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {}, description="class → why its drop is accepted; kept with the reason"
    )


class Policy(Config):
    """When a challenger takes the champion's place. The defaults are ``configs/policies/default.yaml``.

    Both must always have been scored on the same test set by the same match rule, and neither may have been shaped by
    a patient of it; no policy can ask for less.
    """

    name: str = Field("default", pattern=r"^[a-z][a-z0-9_]*$")
    primary: PrimaryDemand = PrimaryDemand()
    strata: tuple[StratumDemand, ...] = ()
    classes: ClassDemand | None = ClassDemand()
    min_patients: int = Field(5, ge=1, description="fewer patients in the test set decide nothing")

    @field_validator("strata")
    @classmethod
    def _each_variable_once(cls, strata: tuple[StratumDemand, ...]) -> tuple[StratumDemand, ...]:
        asked = [(one.variable, level) for one in strata for level in one.levels or ("",)]
        if len(set(asked)) != len(asked):
            raise ValueError(f"each level of a variable is asked for once, got {asked}")
        return strata

    @property
    def title(self) -> str:
        """Its name and its digest: a name alone says little, since the file may have changed."""
        return f"{self.name} {self.digest()}"

    def text(self) -> str:
        """All that is asked for as YAML, which `pipeline.config.load_policy` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def digest(self) -> str:
        """16 hex digits that name what is asked for."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
