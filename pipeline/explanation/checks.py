"""Whether a saliency map tells of the trained network: two checks that it may fail."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.detectors.detector import Detector
from pipeline.explanation.origin import Origin, voxels_within
from pipeline.explanation.randomisation import cascade, randomised
from pipeline.explanation.saliency import Saliency, blurred, logit_at, saliency
from pipeline.explanation.similarity import rank_correlation, structural_similarity

# A tenth of the variance of the ranks in common, about: what the signs of a map share with those of an unrelated one.
MOST_CORRELATION = 0.3
# Magnitudes agree between unrelated networks too, for integrated gradients are strong where the image differs from its
# baseline and near the detection: 0.40 to 0.54 was measured between trained and random networks as between random ones
# (demo and real data, 2D and 3D). A map that ignores the weights reaches 1. The limit is half-way between.
MOST_MAGNITUDE_CORRELATION = 0.75
_SEEDS = (0, 1)
# Ranks settle long before the integral does.
SANITY_STEPS = (4,)
_DRAWS = 4


@dataclass(frozen=True)
class Forgotten:
    """How alike a network's map and that of the same network with random layers are, about the object.

    ``layers`` says down to which part they are random. ``signed`` and ``magnitude``: Spearman's rho of the values and
    of their magnitudes; ``similarity``: SSIM of the magnitudes. NaN where a map is the same everywhere.
    """

    layers: str
    signed: float
    magnitude: float
    similarity: float


@dataclass(frozen=True)
class SanityCheck:
    """The model parameter randomisation test of Adebayo et al. 2018 (arXiv 1810.03292, section 3).

    ``repeated``: rank correlation with a second map of the same network; ``identical``: whether it has the same bits.
    ``cascade``: with more and more layers random, from the output downwards; ``others``: with other random weights.
    """

    repeated: float
    identical: bool
    cascade: tuple[Forgotten, ...]
    others: tuple[Forgotten, ...] = ()

    @property
    def wholly_random(self) -> tuple[Forgotten, ...]:
        """Against networks none of whose layers is trained, one for each seed."""
        return (*self.cascade[-1:], *self.others)

    @property
    def randomised(self) -> tuple[float, ...]:
        """Rank correlation of the signed values with those of networks of random weights, one each."""
        return tuple(one.signed for one in self.wholly_random)

    @property
    def magnitude_correlation(self) -> float:
        return float(np.mean([one.magnitude for one in self.wholly_random]))

    @property
    def passed(self) -> bool:
        """Steady, and unlike maps of random networks, in sign and in magnitude. A map that is the same everywhere says
        nothing, and does not pass."""
        signed = float(np.mean(np.abs(self.randomised)))
        return self.identical and signed < MOST_CORRELATION and self.magnitude_correlation < MOST_MAGNITUDE_CORRELATION

    def to_json(self) -> dict[str, object]:
        return {
            "passed": self.passed,
            "most_correlation": MOST_CORRELATION,
            "most_magnitude_correlation": MOST_MAGNITUDE_CORRELATION,
            "repeated": self.repeated,
            "identical": self.identical,
            "randomised": list(self.randomised),
            "magnitude_correlation": self.magnitude_correlation,
            "cascade": [vars(one) for one in self.cascade],
            "others": [vars(one) for one in self.others],
        }


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
    network: Detector, origin: Origin, steps: Sequence[int] = SANITY_STEPS, seeds: Sequence[int] = _SEEDS
) -> tuple[SanityCheck, tuple[Saliency, ...]]:
    """Compare a detection's map with one of the same weights and with those of random weights.

    The first of ``seeds`` makes the layers random one after the other, the others all at once.

    Returns:
        The check, and the maps of its cascade, to be shown beside the true one.
    """
    near = _near(origin, 3.0)
    own, again = (saliency(network, origin, steps) for _ in range(2))
    random = [(layers, saliency(one, origin, steps)) for layers, one in cascade(network, seeds[0], origin.image)]
    levels = [_compared(layers, own, one, near) for layers, one in random]
    others = [saliency(randomised(network, seed, origin.image), origin, steps) for seed in seeds[1:]]
    check = SanityCheck(
        repeated=rank_correlation(own.values, again.values),
        identical=bool(np.array_equal(own.values, again.values)),
        cascade=tuple(levels),
        others=tuple(_compared(levels[-1].layers, own, one, near) for one in others),
    )
    return check, tuple(one for _, one in random)


def _compared(layers: str, own: Saliency, other: Saliency, near: tuple[slice, ...]) -> Forgotten:
    a, b = own.values[near], other.values[near]
    magnitudes = np.abs(a), np.abs(b)
    return Forgotten(layers, rank_correlation(a, b), rank_correlation(*magnitudes), structural_similarity(*magnitudes))


def check_deletion(
    network: Detector,
    origin: Origin,
    found: Saliency,
    shares: Sequence[float] = (0.02, 0.05, 0.1, 0.2),
    seed: int = 0,
) -> Deletion:
    """Blank the voxels that a map names, and as many others of the same surroundings.

    The surroundings are three times the box along each axis: to blank empty background far away would prove little.
    """
    near = np.zeros(origin.grid.shape, dtype=bool)
    near[_near(origin, 3.0)] = True
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


def _near(origin: Origin, times: float) -> tuple[slice, ...]:
    """The voxels of ``origin.grid`` within the box, enlarged about its centre; at least one."""
    middle, half = (origin.lower + origin.upper) / 2, (origin.upper - origin.lower) / 2 * times
    return voxels_within(middle - half, middle + half, origin.grid.shape)
