"""Half precision where it is shown, on the scans at hand, to give the same detections."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from pipeline.detections import Detections

_LOG = logging.getLogger(__name__)

# What counts as the same detection, and how many of them must be.
_SCORE, _EDGE_VOXELS, _SHARE = 0.02, 0.5, 0.99
# Checked until so many detections were compared, on at most so many scans.
_ENOUGH, _MOST_SCANS = 200, 5


def autocast(device: torch.device, half: bool) -> torch.autocast:
    """bf16 inside, where ``half``: the exponents of 32 bits, so that nothing overflows."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)


@dataclass(frozen=True)
class Agreement:
    """Of two lists of detections on one scan: how many count in either, and how many have their like in the other."""

    counted: int
    matched: int

    @property
    def holds(self) -> bool:
        return self.matched >= _SHARE * self.counted


class HalfPrecision:
    """Decides on the first scans whether a detector may work in half precision; after that it costs nothing.

    Until 200 detections have been compared, on at most 5 scans, each is detected on both ways. Of a scan in parts each
    part counts as a scan, but those without a detection do not. If one disagrees, it and all further ones are done in
    32 bits, and the log says so.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.refused = False
        self._compared = self._scans = 0

    @property
    def settled(self) -> bool:
        return self.refused or self._compared >= _ENOUGH or self._scans >= _MOST_SCANS

    def compare(self, exact: Detections, quick: Detections, is_whole: bool = True) -> None:
        """What was found in 32 bits, and in half precision, on one scan or (not ``is_whole``) on a part of one."""
        agreement = agreement_of(exact, quick, self.threshold)
        self._compared += agreement.counted
        self._scans += is_whole or agreement.counted > 0
        if not agreement.holds:
            self.refused = True
            _LOG.warning(
                "half precision is not used: of %d detections at or above the threshold %d are the same in 32 bits, "
                "expected at least %.0f %%",
                agreement.counted,
                agreement.matched,
                100 * _SHARE,
            )


def agreement_of(one: Detections, other: Detections, threshold: float) -> Agreement:
    """Detections at or above the threshold in either list, and those of them that the other has too: of the same class,
    scores within 0.02 and all edges within half a voxel, and on the same side of the threshold.

    Each is held against the other's nearest by its edges, among all that either gives.
    """
    counted = matched = 0
    for mine, theirs in ((one, other), (other, one)):
        own = np.flatnonzero(mine.scores >= threshold)
        counted += len(own)
        if len(own) and len(theirs):
            matched += int(_has_its_like(mine, theirs, own, threshold).sum())
    return Agreement(counted, matched)


def _has_its_like(mine: Detections, theirs: Detections, own: np.ndarray, threshold: float) -> np.ndarray:
    edges = [np.hstack([found.boxes.lower, found.boxes.upper]) for found in (mine, theirs)]
    apart, nearest = cKDTree(edges[1]).query(edges[0][own], p=np.inf)
    same_class = mine.labels[own] == theirs.labels[nearest]
    near = (apart <= _EDGE_VOXELS) & (np.abs(mine.scores[own] - theirs.scores[nearest]) <= _SCORE)
    return same_class & near & (theirs.scores[nearest] >= threshold)
