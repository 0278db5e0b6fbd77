"""Trainings differ by their seed as scans differ by their patient: seeds are drawn as well.

Of ``k`` seeds ``k - 1`` are drawn: with ``k`` the variance of their mean would be taken for too small, by
``(k - 1) / k`` (McCarthy & Snowden, The bootstrap and finite population sampling, Vital Health Stat. 2(95), 1985).
Percentiles are those of a t interval (see `pipeline.evaluation.uncertainty`): with three seeds nearly the least and the
greatest.
"""

import numpy as np
from scipy.special import ndtr, stdtrit

_APART = 1  # so that seeds are drawn independently of patients


def seed_weights(seeds: int, rounds: int, seed: int) -> np.ndarray:
    """How often each training seed counts in each bootstrap round, int ``(rounds, seeds)``."""
    generator = np.random.default_rng([seed, _APART])
    return generator.multinomial(max(seeds - 1, 1), np.full(seeds, 1 / seeds), size=rounds)


def mean_over_seeds(figures: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The mean in each round.

    Args:
        figures: of each seed in each round, ``(…, seeds, rounds)``.
        drawn: how often each counts, ``(rounds, seeds)``.

    Returns:
        ``(…, rounds)``; NaN only where the figure of a seed that was drawn is NaN.
    """
    return np.where(drawn.T > 0, figures * drawn.T, 0.0).sum(axis=-2) / drawn.sum(axis=1)


def seed_tail(seeds: int, confidence: float) -> float | None:
    """Which share of rounds lies beyond each end of an interval over seeds alone; one seed has no interval."""
    return float(ndtr(stdtrit(seeds - 1, (1 - confidence) / 2))) if seeds > 1 else None
