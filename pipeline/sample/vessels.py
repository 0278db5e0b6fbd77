"""Branching tubes: the vessels that look like lesions in every single slice."""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.sample.lattice import Lattice, filled
from pipeline.types import Points

THINNEST_MM = 0.6
_STEPS_A_BRANCH = 3


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight pieces from ``starts`` to ``ends``, both ``(n, 3)`` in local mm, of ``radii`` ``(n,)`` mm."""

    starts: Points
    ends: Points
    radii: np.ndarray

    def joined(self, other: "Tubes") -> "Tubes":
        return Tubes(
            np.concatenate([self.starts, other.starts]),
            np.concatenate([self.ends, other.ends]),
            np.concatenate([self.radii, other.radii]),
        )

    def paint(self, occupancy: np.ndarray, lattice: Lattice, softness_mm: float) -> None:
        """Raise ``occupancy`` of the lattice's fine shape (0 … 1, in place) to that of the tubes."""
        margin = self.radii[:, None] + softness_mm
        lower = np.minimum(self.starts, self.ends) - margin
        upper = np.maximum(self.starts, self.ends) + margin
        near = ((upper > 0) & (lower < lattice.size_mm)).all(axis=1)
        for piece in np.flatnonzero(near):
            window = lattice.window(lower[piece], upper[piece])
            patch = occupancy[window]
            if patch.size:
                distance = self._distance(int(piece), lattice.open_mesh(window))
                np.maximum(patch, filled(distance, softness_mm), out=patch)

    def _distance(self, piece: int, mesh: tuple[np.ndarray, ...]) -> np.ndarray:
        """Signed distance from the samples of an open mesh to one piece, negative inside."""
        start, along = self.starts[piece], self.ends[piece] - self.starts[piece]
        offsets = [axis - np.float32(value) for axis, value in zip(mesh, start, strict=True)]
        dot = sum(offset * np.float32(value) for offset, value in zip(offsets, along, strict=True))
        share = np.clip(dot / np.float32(along @ along), 0, 1)
        squares = ((offset - share * np.float32(value)) ** 2 for offset, value in zip(offsets, along, strict=True))
        return np.sqrt(sum(squares)) - np.float32(self.radii[piece])


def _turned(rng: np.random.Generator, direction: np.ndarray, angle: float) -> np.ndarray:
    """``direction`` turned by ``angle`` (radians) towards a random side."""
    side = rng.standard_normal(3)
    side -= (side @ direction) * direction
    return direction * math.cos(angle) + side * (math.sin(angle) / math.sqrt(side @ side))


def grow_tree(rng: np.random.Generator, root_mm: np.ndarray, direction: np.ndarray, radius_mm: float) -> Tubes:
    """A tree of tubes that fork and thin out from ``root_mm`` on."""
    pieces: list[tuple[np.ndarray, np.ndarray, float]] = []
    buds = [(root_mm, direction / np.linalg.norm(direction), radius_mm)]
    while buds:
        point, heading, radius = buds.pop()
        length = (4.0 + 3.0 * radius) * rng.uniform(0.8, 1.3)
        for _ in range(_STEPS_A_BRANCH):
            heading = _turned(rng, heading, rng.uniform(0, 0.22))
            following = point + heading * length / _STEPS_A_BRANCH
            pieces.append((point, following, radius))
            point = following
        for share, angle in ((rng.uniform(0.78, 0.9), 0.3), (rng.uniform(0.55, 0.78), 0.75)):
            if radius * share >= THINNEST_MM:
                buds.append((point, _turned(rng, heading, angle * rng.uniform(0.7, 1.3)), radius * share))
    starts, ends, radii = zip(*pieces, strict=True)
    return Tubes(np.array(starts), np.array(ends), np.array(radii))


def passing_tube(rng: np.random.Generator, size_mm: np.ndarray, radius_mm: float) -> Tubes:
    """A gently winding tube that crosses the volume from one face to another and never forks."""
    points = [rng.uniform(0.2, 0.8, 3) * size_mm]
    heading = rng.standard_normal(3) * np.array([0.6, 0.6, 1.0])
    heading /= np.linalg.norm(heading)
    points[0] = points[0] - heading * size_mm.max()
    for _ in range(24):
        heading = _turned(rng, heading, rng.uniform(0, 0.12))
        points.append(points[-1] + heading * size_mm.max() / 12)
    path = np.array(points)
    return Tubes(path[:-1], path[1:], np.full(len(path) - 1, radius_mm))
