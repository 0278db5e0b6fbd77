"""Which subset a patient of the sample archive belongs to."""

from typing import Literal

Subset = Literal["train", "val", "public_test"]
_FIVE_PATIENTS: tuple[Subset, ...] = ("public_test", "val", "train", "train", "train")


def split_of(patient: int) -> Subset:
    """Of five patients in a row, the first is for testing, the second for validation."""
    return _FIVE_PATIENTS[patient % 5]
