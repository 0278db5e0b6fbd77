"""The smallest true difference that a test set shows: without it, "no difference was found" says nothing.

    detectable = (t(1 - α/2) + t(power)) · SE

with quantiles of Student's t at ``patients - 1`` degrees of freedom: the minimum detectable effect of Bloom (Evaluation
Review 19(5):547, 1995, doi 10.1177/0193841X9501900504), 2.80 SE for many patients, α = 0.05 two-sided and a power of
0.8. SE is the standard error of the paired difference: the standard deviation of its paired bootstrap rounds, times
``√(n/(n - 1))`` because resampling n patients gives a variance that is too small by ``(n - 1)/n`` (Efron & Tibshirani
1993, section 5.3). It is that of these two versions: a pair that differs in more cases needs a larger difference.

In simulations the permutation test shows a difference of this size in 75 to 81 of 100 test sets of 40 patients
(tests/evaluation/test_simulation.py): whole-number results often differ by the same, which costs it a little.
"""

import numpy as np
from scipy.special import stdtrit

from pipeline.evaluation.significance import smallest_p

ALPHA = 0.05
POWER = 0.8


def detectable(rounds: np.ndarray, patients: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true difference, of either sign, that a two-sided test at ``alpha`` shows with ``power``.

    Args:
        rounds: differences in the paired bootstrap rounds, ``(rounds,)``; NaN is left out.
        patients: how many were resampled.
        alpha: level of the test. For one of m tests, ``0.05 / m``: Holm's first step.
        power: chance that it is shown.

    Returns:
        NaN where no difference could be shown, because so few patients or rounds never give a p of ``alpha``; and where
        the versions do not differ in any round, because nothing then tells how differences scatter.
    """
    there = rounds[np.isfinite(rounds)]
    if patients < 2 or len(there) < 2 or smallest_p(patients, len(there)) > alpha:
        return float("nan")
    error = float(there.std(ddof=1)) * np.sqrt(patients / (patients - 1))
    if error <= 0:
        return float("nan")
    freedom = patients - 1
    return float((stdtrit(freedom, 1 - alpha / 2) + stdtrit(freedom, power)) * error)
