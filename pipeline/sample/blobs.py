"""Star-shaped solids: the outline of lesions."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.types import Points


def sphere_directions(count: int) -> Points:
    """Unit vectors ``(count, 3)`` spread evenly over the sphere (Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)


_SURFACE = sphere_directions(1500)
_DEPTHS = np.linspace(0.1, 1.0, 12)


@dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid with lobes, in local millimetres (see `Lattice`).

    ``centre`` and ``semi_axes`` are ``(3,)``; lobe ``m`` pushes the surface out (or in) by the share
    ``amplitudes[m]`` around the direction ``lobes[m]``, the narrower the larger ``sharpness[m]``.
    """

    centre: np.ndarray
    semi_axes: np.ndarray
    lobes: Points
    amplitudes: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, diameter_mm: float, roughness: float = 1.0) -> "Blob":
        """A random blob at the origin whose longest extent along an axis is ``diameter_mm``."""
        count = int(rng.integers(3, 8))
        lobes = rng.standard_normal((count, 3))
        lobes /= np.linalg.norm(lobes, axis=1, keepdims=True)
        raw = cls(
            centre=np.zeros(3),
            semi_axes=rng.uniform(0.75, 1.0, 3),
            lobes=lobes,
            amplitudes=rng.uniform(-0.14, 0.36, count) * roughness,
            sharpness=rng.uniform(4, 22, count),
        )
        lower, upper = raw.extent()
        return replace(raw, semi_axes=raw.semi_axes * diameter_mm / (upper - lower).max())

    def at(self, centre: np.ndarray) -> "Blob":
        return replace(self, centre=np.asarray(centre, dtype=float))

    def scaled(self, share: float) -> "Blob":
        return replace(self, semi_axes=self.semi_axes * share)

    def radius(self, directions: Points) -> np.ndarray:
        """Distance from the centre to the surface along unit vectors ``(n, 3)``, in mm, ``(n,)``."""
        ellipsoid = 1 / np.linalg.norm(directions / self.semi_axes, axis=1)
        bumps = np.exp(self.sharpness * (directions @ self.lobes.T - 1)) @ self.amplitudes
        return ellipsoid * (1 + bumps)

    def signed_distance(self, points: Points) -> np.ndarray:
        """Roughly the distance from ``(n, 3)`` points to the surface in mm, negative inside."""
        offsets = points - self.centre
        reach = np.linalg.norm(offsets, axis=1)
        directions = np.divide(offsets, reach[:, None], out=np.zeros_like(offsets), where=reach[:, None] > 0)
        directions[reach == 0, 0] = 1.0
        return reach - self.radius(directions)

    def inner_points(self) -> Points:
        """Points that fill the blob up to its surface, ``(n, 3)`` in mm."""
        rays = _SURFACE * self.radius(_SURFACE)[:, None]
        return (self.centre + rays[None] * _DEPTHS[:, None, None]).reshape(-1, 3)

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds ``(3,)`` along the local axes, in mm."""
        surface = self.centre + _SURFACE * self.radius(_SURFACE)[:, None]
        return surface.min(axis=0), surface.max(axis=0)
