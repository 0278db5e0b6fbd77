"""The grade of an object, such as malignancy: a logit at every location, learnt where a location answers for an object.

Not pooled over the object's box: see the figures below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.datasets.samples import Objects
from pipeline.detectors.detector import Count, at_least_one


@dataclass(frozen=True)
class Answers:
    """``where`` ``(m,)``: flat indices of a patch's responsible locations; ``owner`` ``(m,)``: the object of each."""

    where: torch.Tensor
    owner: torch.Tensor


def grade_loss(
    logits: torch.Tensor | None,
    batch: Sequence[Objects],
    answers: Mapping[int, Answers],
    divisor: Count = at_least_one,
) -> torch.Tensor | None:
    """Cross-entropy with the grade, mean over objects whose grade is known; 0 where the batch has none.

    A grade between 0 and 1 is what the logit's sigmoid is to be. All locations of an object together count once.

    Args:
        logits: ``(batch, i, j[, k])``, `None` where no grade is learnt.
        batch: the objects of each patch.
        divisor: what the sum is divided by, given the objects counted.
        answers: by number of the patch; patches without an object are not there.

    Returns:
        `None` where no grade is learnt.
    """
    if logits is None:
        return None
    total = logits.sum() * 0.0
    count = total.detach()
    for number, given in answers.items():
        grades = batch[number].grades
        assert grades is not None, "a grade is learnt, and the objects came without"
        wanted = grades[given.owner]
        known = ~torch.isnan(wanted)
        owner = given.owner[known]
        share = 1.0 / torch.bincount(owner, minlength=len(grades)).clamp(min=1)[owner]
        said = logits[number].flatten()[given.where[known]]
        total = (
            total + (functional.binary_cross_entropy_with_logits(said, wanted[known], reduction="none") * share).sum()
        )
        count = count + share.sum()
    return total / divisor(count)
