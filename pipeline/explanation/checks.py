"""Whether a saliency map tells of the trained network: two checks that it may fail."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata

from pipeline.detectors.detector import CentreBoxDetector
from pipeline.explanation.origin import Origin
from pipeline.explanation.saliency import Saliency, blurred, logit_at, saliency

# A map that ranks voxels so alike for a network that learned nothing shows the image and not the network.
MOST_CORRELATION = 0.3
_SEEDS = (0, 1, 2)
# Ranks settle long before the integral does.
_SANITY_STEPS = 8
_DRAWS = 4


@dataclass(frozen=True)
class SanityCheck:
    """The model parameter randomisation test of Adebayo et al. 2018 (arXiv 1810.03292, section 3).

    ``repeated``: rank correlation with a second map of the same network; ``identical``: whether it has the same bits.
    ``randomised``: rank correlation of the signed values with those of networks of random weights, one each. Signed,
    because every map of an object is strong about the object: magnitudes correlate whatever the weights are.
    """

    repeated: float
    identical: bool
    randomised: tuple[float, ...]

    @property
    def passed(self) -> bool:
        return self.identical and float(np.mean(np.abs(self.randomised))) < MOST_CORRELATION

    def to_json(self) -> dict[str, object]:
        limit = {"passed": self.passed, "most_correlation": MOST_CORRELATION}
        return {**limit, "repeated": self.repeated, "identical": self.identical, "randomised": list(self.randomised)}


@dataclass(frozen=True)
class Deletion:
    """Fall of the score's logit when voxels take their baseline value (Petsiuk et al. 2018, arXiv 1806.07421).

    ``shares`` of the voxels about the object; ``by_saliency``: those with the highest values; ``by_chance``: as many
    drawn at random, mean of several draws.
    """

    shares: tuple[float, ...]
    by_saliency: tuple[float, ...]
    by_chance: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        return {name: list(getattr(self, name)) for name in ("shares", "by_saliency", "by_chance")}


def check_sanity(
    network: CentreBoxDetector, origin: Origin, steps: int = _SANITY_STEPS, seeds: Sequence[int] = _SEEDS
) -> tuple[SanityCheck, Saliency]:
    """Compare a detection's map with one of the same weights and with those of random weights.

    Returns:
        The check, and the map of the first random network, to be shown beside the true one.
    """
    own, again = (saliency(network, origin, steps) for _ in range(2))
    random = [saliency(randomised(network, seed), origin, steps) for seed in seeds]
    check = SanityCheck(
        repeated=rank_correlation(own.values, again.values),
        identical=bool(np.array_equal(own.values, again.values)),
        randomised=tuple(rank_correlation(own.values, one.values) for one in random),
    )
    return check, random[0]


def randomised(network: CentreBoxDetector, seed: int) -> CentreBoxDetector:
    """The same architecture with every layer as drawn before training, from ``seed`` alone."""
    fresh = copy.deepcopy(network).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return fresh.to(next(network.parameters()).device).eval()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two maps of one shape; 0 where one of them is constant."""
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0
    return float(np.corrcoef(rankdata(a, axis=None), rankdata(b, axis=None))[0, 1])


def check_deletion(
    network: CentreBoxDetector,
    origin: Origin,
    found: Saliency,
    shares: Sequence[float] = (0.02, 0.05, 0.1, 0.2),
    seed: int = 0,
) -> Deletion:
    """Blank the voxels that a map names, and as many others of the same surroundings.

    The surroundings are three times the box along each axis: to blank empty background far away would prove little.
    """
    near = _near(origin, 3.0)
    candidates = np.flatnonzero(near)
    ranked = candidates[np.argsort(-found.values[near], kind="stable")]
    baseline, full = blurred(origin), found.logit
    rng = np.random.default_rng(seed)

    def fall(chosen: np.ndarray) -> float:
        gone = np.zeros(tuple(origin.image.shape[1:]), dtype=bool)
        gone[np.unravel_index(chosen, near.shape)] = True
        blanked = torch.where(torch.from_numpy(gone).to(baseline.device), baseline, origin.image)
        return full - logit_at(network, blanked, origin)

    counts = [max(1, round(share * len(candidates))) for share in shares]
    chance = [np.mean([fall(rng.choice(candidates, n, replace=False)) for _ in range(_DRAWS)]) for n in counts]
    return Deletion(
        tuple(shares), tuple(fall(ranked[:count]) for count in counts), tuple(float(value) for value in chance)
    )


def _near(origin: Origin, times: float) -> np.ndarray:
    """The voxels of ``origin.grid`` within the box, enlarged about its centre: bool ``(i, j[, k])``, at least one."""
    middle, half = (origin.lower + origin.upper) / 2, (origin.upper - origin.lower) / 2 * times
    near = np.zeros(origin.grid.shape, dtype=bool)
    region = []
    for centre, reach, size in zip(middle, half, origin.grid.shape, strict=True):
        first = int(np.clip(np.ceil(centre - reach), 0, size - 1))
        region.append(slice(first, max(int(np.clip(np.floor(centre + reach) + 1, 1, size)), first + 1)))
    near[tuple(region)] = True
    return near
