"""Which scans an experiment uses, and how they are divided."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Config

_SHARE = 0.25
# From here on a grade counts as positive, where an evaluation needs yes or no.
POSITIVE_GRADE = 0.5


class FoldSplit(Config):
    """Groups are dealt into ``folds`` equal parts, of which part ``fold`` is the test set.

    What chooses a version's epoch and threshold: with ``validation: fold`` the part after the test set's, which takes
    three folds at least. With ``validation: within``, for as few as two patients, a slab of each volume that is not a
    test volume: about ``validation_share`` of its objects and voxels, at one end of one axis; patches are drawn from
    the rest alone. Validation is then on the patients that were trained on, so its figures are too good; the test
    set's are not.
    """

    kind: Literal["folds"] = "folds"
    folds: int = Field(5, ge=2)
    fold: int = Field(0, ge=0)
    group_by: Literal["patient", "look"] = Field(
        "patient", description="'look' joins images of the same size and appearance, where no patient is known"
    )
    # Not written down as they are by default: experiments from before there was a choice keep their digest.
    validation: Literal["fold", "within"] = Field(
        "fold", exclude_if=lambda validation: validation == "fold", description="a fold, or a slab of each volume"
    )
    validation_share: float = Field(_SHARE, gt=0, le=0.5, exclude_if=lambda share: share == _SHARE)

    @model_validator(mode="after")
    def _three_sides(self) -> "FoldSplit":
        if self.validation == "fold" and self.folds < 3:
            raise ValueError("folds must be 3 or more for validation: fold; with two patients use validation: within")
        if self.validation == "fold" and self.validation_share != _SHARE:
            raise ValueError("validation_share is of validation: within; a fold is as large as the others")
        return self


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
    # All of it is not written down: experiments from before there were shares keep their digest.
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        exclude_if=lambda share: share == 1,
        description="share of the training side's patients (or looks) that is used, drawn by the training's seed",
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> "DataConfig":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"data.classes names one twice: {list(self.classes)}")
        return self

    @model_validator(mode="after")
    def _slabs_of_whole_volumes(self) -> "DataConfig":
        if isinstance(self.split, FoldSplit) and self.split.validation == "within" and self.cases.kind != "whole":
            raise ValueError("split.validation: within takes slabs of whole volumes: cases.kind must be whole")
        return self
