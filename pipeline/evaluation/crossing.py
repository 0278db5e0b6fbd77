"""Where one training reaches the quality of another: at which share of the data, at which share of the steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

NOT_REACHED = "not reached"
_ROUNDING = 1e-12  # equal figures may differ in the last bits


@dataclass(frozen=True)
class Crossing:
    """A share of everything (data or steps) with its bootstrap interval.

    ``share``, ``lower`` and ``upper`` are infinite where the quality is not reached. ``smallest`` is the smallest share
    that was looked at: a crossing there says no more than *at most*. ``share`` is NaN where it is not known, ``lower``
    and ``upper`` where there is too little for an interval. ``reached`` is the share of bootstrap rounds in which the
    quality is reached at all.
    """

    share: float
    lower: float
    upper: float
    smallest: float
    reached: float

    @classmethod
    def of(cls, share: float, rounds: np.ndarray, tail: float | None, smallest: float) -> Self:
        """With the interval of the bootstrap rounds ``(rounds,)``, ``tail`` of which lie beyond each end."""
        there = rounds[~np.isnan(rounds)]
        if math.isnan(share) or tail is None or len(there) == 0:
            return cls(share, math.nan, math.nan, smallest, math.nan)
        # Ends are rounds themselves: between a share and infinity nothing can be interpolated.
        lower, upper = np.quantile(there, [tail, 1 - tail], method="inverted_cdf")
        return cls(share, float(lower), float(upper), smallest, float(np.isfinite(there).mean()))

    @classmethod
    def unknown(cls) -> Self:
        return cls(math.nan, math.nan, math.nan, math.nan, math.nan)

    def to_json(self) -> dict[str, float | str]:
        """JSON has no infinity: it says ``not reached`` instead."""
        return {name: NOT_REACHED if math.isinf(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, float | str]) -> Self:
        return cls(**{name: math.inf if value == NOT_REACHED else float(value) for name, value in raw.items()})

    def __str__(self) -> str:
        if math.isnan(self.share):
            return "–"
        if math.isnan(self.lower):
            return f"{self._told(self.share)} (no interval)"
        return f"{self._told(self.share)} [{self._told(self.lower)}, {self._told(self.upper)}]"

    def _told(self, share: float) -> str:
        if math.isinf(share):
            return NOT_REACHED
        return f"{'≤ ' if share <= self.smallest else ''}{100 * share:.3g}%"


def share_reached(shares: Sequence[float], curve: np.ndarray, target: float) -> float:
    """The smallest share of data at which a curve is at least ``target``.

    Args:
        shares: rising, ``(n,)``.
        curve: the figure at each, ``(n,)``; between two of them a straight line over the logarithm of the share.
        target: what to reach.

    Returns:
        The first share where the curve is there already, infinity where it never is, NaN where a figure is NaN.
    """
    if math.isnan(target) or np.isnan(curve).any():
        return math.nan
    there = np.flatnonzero(curve >= target - _ROUNDING)
    if len(there) == 0:
        return math.inf
    first = int(there[0])
    if first == 0 or curve[first] <= target:
        return float(shares[first])
    part = (target - curve[first - 1]) / (curve[first] - curve[first - 1])
    return float(shares[first - 1] * (shares[first] / shares[first - 1]) ** part)


def steps_reached(after: Sequence[float], curve: np.ndarray, target: float) -> float:
    """The first of the rising shares of steps ``after`` at which ``curve`` is at least ``target``; or infinity."""
    there = np.flatnonzero(curve >= target - _ROUNDING)
    return float(after[there[0]]) if len(there) else math.inf
