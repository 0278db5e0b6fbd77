"""Rare classes count more: weights of the class loss from the training objects."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from pipeline.datasets.prepared import PreparedCase

_BETA = 0.999


def class_weights(
    weighting: Literal["none", "inverse_sqrt", "effective"], cases: Sequence[PreparedCase], classes: int
) -> torch.Tensor | None:
    """``(classes,)``, 1 on average over the objects; a class without any has 1.

    ``effective`` is 1 over the effective number ``(1 - b^n) / (1 - b)`` with b = 0.999 (Cui et al. 2019, arXiv
    1901.05555, eq. 2), ``inverse_sqrt`` 1 over the root of the number.
    """
    if weighting == "none" or classes == 1:
        return None
    labels = np.concatenate([case.labels[~case.ignore] for case in cases] or [np.zeros(0, dtype=np.int64)])
    counts = np.bincount(labels[labels >= 0], minlength=classes).astype(float)
    there = np.maximum(counts, 1)
    rare = 1 / np.sqrt(there) if weighting == "inverse_sqrt" else (1 - _BETA) / (1 - _BETA**there)
    mean = float((counts * rare).sum() / max(counts.sum(), 1)) or 1.0
    return torch.tensor(np.where(counts > 0, rare / mean, 1.0), dtype=torch.float32)
