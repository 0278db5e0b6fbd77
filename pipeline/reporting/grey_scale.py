"""Which value each of the 256 grey levels of an embedded picture stands for, so that a reader can change the window."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.types import Image

# Hounsfield units and the steps between them: fine where soft tissue differs, coarse in air and bone, and together
# wide enough for the usual windows of lung, soft tissue and bone.
_CT_KNOTS = (-1024.0, -200.0, 300.0, 1600.0)
_CT_STEPS = (8.0, 5.0, 25.0)
_LEVELS = 255


@dataclass(frozen=True)
class GreyScale:
    """Grey levels 0 … 255 at ``levels`` and the ``values`` they stand for, both rising; straight in between."""

    levels: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def first(self) -> float:
        """The value of grey level 0; what is lower is shown like it."""
        return self.values[0]

    @property
    def last(self) -> float:
        """The value of grey level 255; what is higher is shown like it."""
        return self.values[-1]

    @property
    def finest(self) -> tuple[float, float, float]:
        """The smallest step between two grey levels, and from where to where it holds."""
        steps = np.diff(self.values) / np.diff(self.levels)
        at = int(np.argmin(steps))
        return float(steps[at]), self.values[at], self.values[at + 1]

    def levels_of(self, plane: Image) -> np.ndarray:
        """Values of any shape → grey levels, not rounded; what is not a number is black."""
        values = np.nan_to_num(np.asarray(plane, dtype=np.float64), nan=self.first, posinf=self.last, neginf=self.first)
        return np.asarray(np.interp(values, self.values, self.levels))


def even_scale(first: float, last: float) -> GreyScale:
    return GreyScale((0.0, float(_LEVELS)), (float(first), float(last)))


def grey_scale(image: Image, shown: tuple[float, float], *, hounsfield: bool = False) -> GreyScale:
    """The scale of one image.

    8-bit images keep their values. Hounsfield units get the same scale in every scan, as far as the image reaches.
    Others are spread evenly over the window shown and half its width beyond, within the image's values.

    Args:
        image: ``(channel, i, j[, k])``.
        shown: the window to begin with; the scale always holds it.
        hounsfield: whether the values are Hounsfield units.
    """
    if image.dtype == np.uint8:
        return even_scale(0.0, 255.0)
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if finite.size == 0 or not shown[1] > shown[0]:
        return even_scale(shown[0], max(shown[1], shown[0] + 1.0))
    lowest, highest = float(finite.min()), float(finite.max())
    if hounsfield:
        lower, upper = max(lowest, _CT_KNOTS[0]), min(highest, _CT_KNOTS[-1])
        return _ct_scale(min(lower, shown[0]), max(upper, shown[1]))
    margin = (shown[1] - shown[0]) / 2
    lower, upper = max(lowest, shown[0] - margin), min(highest, shown[1] + margin)
    return even_scale(min(lower, shown[0]), max(upper, shown[1]))


def _ct_scale(first: float, last: float) -> GreyScale:
    """The usual steps from ``first`` to ``last``, all made smaller or larger alike so that they fill the levels."""
    values = [first, *(knot for knot in _CT_KNOTS[1:-1] if first < knot < last), last]
    counts = []
    for low, high in pairwise(values):
        part = int(np.searchsorted(_CT_KNOTS[1:-1], (low + high) / 2))
        counts.append((high - low) / _CT_STEPS[part])
    levels = np.concatenate([[0.0], np.cumsum(counts)]) * (_LEVELS / sum(counts))
    return GreyScale(tuple(float(level) for level in levels), tuple(float(value) for value in values))
