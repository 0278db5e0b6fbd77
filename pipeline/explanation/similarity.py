"""How alike two saliency maps are: the measures of Adebayo et al. 2018 (arXiv 1810.03292, section 3)."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

# Wang et al. 2004 (doi 10.1109/TIP.2003.819861): weights of a Gaussian, constants for values of 0 … 1.
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two maps of one shape; NaN where one of them is constant, of which nothing can be said."""
    if not (np.ptp(a) and np.ptp(b)):
        return float("nan")
    return float(np.corrcoef(rankdata(a, axis=None), rankdata(b, axis=None))[0, 1])


def structural_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Mean SSIM of two maps ``(i, j[, k])`` of values from 0 up, each scaled so that its greatest is 1.

    Edges are mirrored; NaN where one of the maps is 0 everywhere.
    """
    if not (a.max() and b.max()):
        return float("nan")
    x, y = (np.asarray(one, dtype=np.float64) / one.max() for one in (a, b))
    mean_x, mean_y = _smooth(x), _smooth(y)
    spread_x, spread_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    shared = _smooth(x * y) - mean_x * mean_y
    level = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return float((level * (2 * shared + _C2) / (spread_x + spread_y + _C2)).mean())


def _smooth(values: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter(values, _SIGMA, mode="reflect", truncate=3.5))
