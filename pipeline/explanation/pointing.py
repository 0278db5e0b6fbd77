"""Whether saliency points at the object: its share inside the object's box, and whether its peak lies there.

The second is the pointing game of Zhang et al. 2018 (arXiv 1608.00507). Both are set beside what a network of random
weights gives, since integrated gradients are strong where the image is, whatever the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import Detector
from pipeline.explanation.origin import find_origin, voxels_within
from pipeline.explanation.randomisation import randomised
from pipeline.explanation.saliency import Saliency, saliency
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Boxes

# Where mass lies settles long before the integral does.
STEPS = (4,)


@dataclass(frozen=True)
class PointedHit:
    """One detection that found an object.

    ``inside``: share of the positive values of the window that lie in the object's box; ``area``: share of the window's
    voxels that do; ``peak``: whether the strongest does. ``random_…``: the same with random weights.
    """

    inside: float
    area: float
    peak: bool
    random_inside: float
    random_peak: bool


@dataclass(frozen=True)
class Pointing:
    """Means over hits; NaN without one."""

    hits: tuple[PointedHit, ...]

    def metrics(self) -> dict[str, float]:
        """``saliency_inside``, ``saliency_inside_random``, ``saliency_area`` (shares), ``saliency_pointing``,
        ``saliency_pointing_random`` (shares of hits) and ``saliency_hits``."""
        return {
            "saliency_inside": self._mean("inside"),
            "saliency_inside_random": self._mean("random_inside"),
            "saliency_area": self._mean("area"),
            "saliency_pointing": self._mean("peak"),
            "saliency_pointing_random": self._mean("random_peak"),
            "saliency_hits": float(len(self.hits)),
        }

    def _mean(self, name: str) -> float:
        values = [getattr(hit, name) for hit in self.hits]
        return float(np.mean(values)) if values else float("nan")


def point(
    network: Detector,
    config: ExperimentConfig,
    scan: NetworkScan,
    detections: Detections,
    hits: Sequence[tuple[int, int]],
    objects: Boxes,
    seed: int = 0,
) -> list[PointedHit]:
    """Point at the objects that detections of one scan found.

    Args:
        network: in evaluation form.
        config: its experiment.
        scan: prepared.
        detections: of the scan.
        hits: index of a detection and of the object that it found.
        objects: on the scan's grid.
        seed: of the random weights.
    """
    boxes = scan.boxes(objects)
    pointed = []
    for detection, found in hits:
        origin = find_origin(network, config, scan, detections, detection)
        start = np.array(origin.start)
        inside = np.zeros(origin.grid.shape, dtype=bool)
        inside[voxels_within(boxes.lower[found] - start, boxes.upper[found] - start, inside.shape)] = True
        own = saliency(network, origin, STEPS)
        random = saliency(randomised(network, seed, origin.image), origin, STEPS)
        (share, peak), (random_share, random_peak) = (mass_inside(one, inside) for one in (own, random))
        pointed.append(PointedHit(share, float(inside.mean()), peak, random_share, random_peak))
    return pointed


def mass_inside(found: Saliency, inside: np.ndarray) -> tuple[float, bool]:
    """Share of the positive values that lie where ``inside`` is true, and whether the greatest does; 0 without any."""
    positive = np.clip(found.values, 0, None).astype(np.float64)
    total = float(positive.sum())
    if not total:
        return 0.0, False
    return float(positive[inside].sum()) / total, bool(inside.flat[int(positive.argmax())])
