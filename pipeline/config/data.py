"""Which scans an experiment uses, and how they are divided."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.config.base import Config

# From here on a grade counts as positive, where an evaluation needs yes or no.
POSITIVE_GRADE = 0.5


class FoldSplit(Config):
    """Groups are dealt into ``folds`` equal parts: part ``fold`` is the test set, the next is for validation."""

    kind: Literal["folds"] = "folds"
    folds: int = Field(5, ge=3)
    fold: int = Field(0, ge=0)
    group_by: Literal["patient", "look"] = Field(
        "patient", description="'look' joins images of the same size and appearance, where no patient is known"
    )


class GivenSplit(Config):
    """The subsets that the data's own index states."""

    kind: Literal["given"] = "given"


class WholeVolumes(Config):
    """Each volume is one case."""

    kind: Literal["whole"] = "whole"


class RandomOffsetWindows(Config):
    """For crops that were cut around their lesion: cases in which its place says nothing.

    Each annotated volume gives one window that holds its lesion at a seeded random offset and, where the tissue
    outside the lesion is at least ``minimum_px`` wide, one window without any lesion voxel.
    """

    kind: Literal["random_offset"] = "random_offset"
    share: float = Field(0.7, gt=0, le=1, description="window edge over volume edge, along i and j")
    minimum_px: int = Field(10, ge=4)


class GradeConfig(Config):
    """What else is learnt of every object besides its place and class: a grade from 0 to 1, such as malignancy.

    ``attribute`` is what the annotators wrote of the scan's objects, and ``values`` what each of its texts means.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="of the grade, in what is exported")
    attribute: str = Field(min_length=1, description="of the scans, e.g. a column of the data's index")
    values: dict[str, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None] = Field(
        description="the attribute's text → grade, between 0 and 1 for what lies between; null: not known, not learnt"
    )

    @field_validator("name")
    @classmethod
    def _own_name(cls, name: str) -> str:
        if name == "score":
            raise ValueError("a grade must not be named 'score': every detection has a score, which is another thing")
        return name

    @field_validator("values")
    @classmethod
    def _both_ends(cls, values: dict[str, float | None]) -> dict[str, float | None]:
        known = [value for value in values.values() if value is not None]
        if not any(value >= POSITIVE_GRADE for value in known) or all(value >= POSITIVE_GRADE for value in known):
            raise ValueError(f"some grades must be below {POSITIVE_GRADE} and some not, got {values}")
        return values


class DataConfig(Config):
    """``source`` is a folder: absolute, or relative to the data folder (setting ``CELLSCAN_DATA``)."""

    source: str
    dims: Literal[2, 3]
    classes: tuple[str, ...] = Field(min_length=1)
    modalities: tuple[str, ...] = Field((), description="DICOM Modality values to take; empty: all")
    where: dict[str, str] = Field(default_factory=dict, description="attributes that a volume must have, e.g. stain")
    in_pixels: bool = Field(
        False, description="2D: distances and sizes are in pixels, also for images whose header states a physical size"
    )
    merge_classes: bool = Field(False, description="every label becomes the single class named")
    point_box: float | None = Field(
        None, gt=0, description="edge of the nominal box around centre-only annotations, in the grid's unit"
    )
    split: Annotated[FoldSplit | GivenSplit, Field(discriminator="kind")] = FoldSplit()
    cases: Annotated[WholeVolumes | RandomOffsetWindows, Field(discriminator="kind")] = WholeVolumes()
    # No grade is not written down: experiments from before there were grades keep their digest.
    grade: GradeConfig | None = Field(None, exclude_if=lambda grade: grade is None)
