"""Percentiles of one quantity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.planning.choice import number


@dataclass(frozen=True)
class Spread:
    """Of ``count`` values: smallest, percentiles 5, 10, 25, 50, 75, 95 and 99 (linear between values), largest."""

    count: int
    smallest: float
    p5: float
    p10: float
    p25: float
    p50: float
    p75: float
    p95: float
    p99: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Spread | None":
        """`None` of no value."""
        if len(values) == 0:
            return None
        found = np.percentile(np.asarray(values, dtype=float), [0, 5, 10, 25, 50, 75, 95, 99, 100])
        return cls(len(values), *(float(f"{one:.6g}") for one in found))

    def text(self) -> str:
        """``5th, 50th, 95th percentile`` as one reads it: ``4.9 … 8.9 … 28.3``."""
        return f"{number(self.p5)} … {number(self.p50)} … {number(self.p95)}"


def spreads(rows: np.ndarray) -> tuple[Spread, ...]:
    """One an axis of ``(n, d)``; empty where there is no row."""
    found = (Spread.of(column) for column in np.asarray(rows).T)
    return tuple(one for one in found if one is not None)
