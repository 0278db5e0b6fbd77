"""Where cells lie in a field of view, and what their nuclei look like in outline."""

from dataclasses import dataclass

import numpy as np

from pipeline.sample.noise import smooth_noise
from pipeline.types import Points

TUMOUR, OTHER = "tumour", "other"
_HARMONICS = np.arange(2, 7)
_OUTLINE_POINTS = 180


@dataclass(frozen=True, eq=False)
class Nuclei:
    """The nuclei of one field.

    ``centres``: ``(n, 2)`` continuous pixel indices (i = column, j = row). ``radii``: mean radius ``(n,)`` in px.
    ``stretch`` and ``angle``: ``(n,)``, of the ellipse. ``waves`` and ``phases``: ``(n, h)``, of the outline.
    ``tumour``: bool ``(n,)``.
    """

    centres: Points
    radii: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    tumour: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(TUMOUR if is_tumour else OTHER for is_tumour in self.tumour)

    def outline_radius(self, index: int, theta: np.ndarray) -> np.ndarray:
        """Radius of nucleus ``index`` in px in the directions ``theta`` (radians, from i towards j)."""
        turned = theta - self.angle[index]
        long = np.sqrt(self.stretch[index])
        ellipse = 1 / np.hypot(np.cos(turned) / long, np.sin(turned) * long)
        turns = turned[..., None] * _HARMONICS + self.phases[index]
        return self.radii[index] * ellipse * (1 + np.cos(turns) @ self.waves[index])

    def extent(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Edges ``(2,)`` of the nucleus in continuous pixel indices; may reach over the field's edge."""
        theta = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
        reach = self.outline_radius(index, theta)
        points = self.centres[index] + np.stack([reach * np.cos(theta), reach * np.sin(theta)], axis=1)
        return points.min(axis=0), points.max(axis=0)


@dataclass(frozen=True)
class Population:
    """How one kind of nucleus varies: radius in px, stretch of the ellipse, unevenness of the outline."""

    radius: tuple[float, float]
    stretch: tuple[float, float]
    unevenness: float


TUMOUR_NUCLEI = Population(radius=(5.6, 8.8), stretch=(1.05, 1.7), unevenness=0.055)
OTHER_NUCLEI = Population(radius=(3.4, 5.0), stretch=(1.0, 1.25), unevenness=0.015)


def draw_nuclei(
    rng: np.random.Generator,
    count: int,
    nest: np.ndarray,
    closeness: float = 0.74,
    populations: tuple[Population, Population] = (TUMOUR_NUCLEI, OTHER_NUCLEI),
) -> Nuclei:
    """Up to ``count`` nuclei; tumour ones in the ``nest``, others mostly outside.

    Args:
        rng: where the numbers come from.
        count: how many are wanted; fewer come where no more fit.
        nest: (i, j), 0 … 1: how much of a tumour nest each pixel is.
        closeness: two nuclei are at least this share of the sum of their radii apart (below 1 they may touch).
        populations: how tumour nuclei vary, how others do.
    """
    tries = count * 40
    centres = rng.uniform(0, 1, (tries, 2)) * np.array(nest.shape) - 0.5
    pixels = tuple(np.clip(np.round(centres), 0, np.array(nest.shape) - 1).astype(int).T)
    tumour = rng.random(tries) < np.where(nest[pixels] > 0.5, 0.95, 0.001)
    radii = np.where(tumour, rng.uniform(*populations[0].radius, tries), rng.uniform(*populations[1].radius, tries))
    room = rng.uniform(closeness, closeness + 0.08, tries) * np.where(tumour, 0.93, 0.82)
    settles = tumour | (rng.random(tries) < _crowding(rng, nest.shape)[pixels])
    others = round(count * rng.uniform(0.25, 0.4))
    chosen: list[int] = []
    for kind, wanted in ((~tumour, others), (tumour, count)):
        _settle(chosen, np.flatnonzero(settles & kind), centres, radii * room, wanted)
    return _outlined(rng, centres[chosen], radii[chosen], tumour[chosen], populations)


def _crowding(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """How likely a cell that is no tumour cell settles at each pixel: in clumps, and a few in between."""
    return np.clip(0.9 * smooth_noise(rng, shape, 10.0) - 0.75, 0.0015, 1)


def _settle(chosen: list[int], candidates: np.ndarray, centres: Points, reach: np.ndarray, wanted: int) -> None:
    """Extend ``chosen`` (in place) to at most ``wanted`` by candidates that keep their distance from all before."""
    for index in candidates:
        if len(chosen) >= wanted:
            return
        apart = ((centres[chosen] - centres[index]) ** 2).sum(axis=1)
        if (apart >= (reach[chosen] + reach[index]) ** 2).all():
            chosen.append(int(index))


def _outlined(
    rng: np.random.Generator,
    centres: Points,
    radii: np.ndarray,
    tumour: np.ndarray,
    populations: tuple[Population, Population],
) -> Nuclei:
    count = len(centres)
    stretches = [rng.uniform(*kind.stretch, count) for kind in populations]
    unevenness = np.where(tumour, populations[0].unevenness, populations[1].unevenness)
    return Nuclei(
        centres=centres,
        radii=radii,
        stretch=np.where(tumour, stretches[0], stretches[1]),
        angle=rng.uniform(0, np.pi, count),
        waves=rng.standard_normal((count, len(_HARMONICS))) * unevenness[:, None] * 2 / _HARMONICS,
        phases=rng.uniform(0, 2 * np.pi, (count, len(_HARMONICS))),
        tumour=tumour,
    )


@dataclass(frozen=True, eq=False)
class Footprint:
    """One nucleus on the pixels: a window of the field and the depth (px, positive inside) in it."""

    window: tuple[slice, slice]
    depth: np.ndarray
    share: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        return self.depth > 0


def footprint(nuclei: Nuclei, index: int, shape: tuple[int, int], softness_px: float = 1.2) -> Footprint:
    """The pixels of one nucleus; ``share`` is how much of each pixel it fills."""
    lower, upper = nuclei.extent(index)
    first = np.clip(np.floor(lower - 1), 0, shape).astype(int)
    last = np.clip(np.ceil(upper + 2), 0, shape).astype(int)
    di = np.arange(first[0], last[0])[:, None] - nuclei.centres[index, 0]
    dj = np.arange(first[1], last[1])[None, :] - nuclei.centres[index, 1]
    depth = nuclei.outline_radius(index, np.arctan2(dj, di)) - np.hypot(di, dj)
    window = (slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])))
    return Footprint(window, depth, np.clip(0.5 + depth / softness_px, 0, 1))
