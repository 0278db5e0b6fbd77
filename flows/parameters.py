"""The parameters of flows: checked before a run begins, and the source of the form in Prefect's pages."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.config import ExperimentConfig, load_experiment

Version = Annotated[
    str,
    Field(
        pattern=r"^([^/@\s]+(/\d+|@[\w.-]+)|starter/[a-z][a-z0-9-]*)$",
        description="a registered version: name/3 or name@champion; or a starter model: starter/name",
    ),
]
Registered = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*/\d+$", description="a registered version by its number: name/3")
]
Target = Annotated[
    str,
    Field(
        pattern=r"^[^/@\s]+(/\d+|@[\w.-]+)(\.\.[^/@\s]+(/\d+|@[\w.-]+))?$",
        description="a version, or two to compare: name/2..name/3",
    ),
]
Archive = Annotated[str, Field(description="a folder of scans, a file, or https://… of a DICOMweb server")]
Subset = Literal["train", "validation", "test"]


class Experiment(BaseModel):
    """A YAML file and what to change in it. A plain path stands for a file as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="YAML file of one experiment")
    overrides: tuple[str, ...] = Field((), description="dotted changes, e.g. training.max_epochs=3")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    def load(self) -> ExperimentConfig:
        return load_experiment(self.path, self.overrides)


Experiments = Annotated[list[Experiment], Field(min_length=1, description="experiments, in the order they are trained")]
