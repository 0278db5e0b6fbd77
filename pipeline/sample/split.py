"""Which subset a patient of the sample archive belongs to."""

from typing import Literal

Subset = Literal["train", "val", "public_test"]


def split_of(patient: int) -> Subset:
    """Of five patients in a row, the first is for testing, the second for validation."""
    return ("public_test", "val", "train", "train", "train")[patient % 5]  # type: ignore[return-value]
