"""H&E-like fields: two stains that absorb light (Beer-Lambert), nests of tumour cells in fibrous stroma."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from pipeline.sample.cells import Footprint, Nuclei, draw_nuclei, footprint
from pipeline.sample.field import Field
from pipeline.sample.noise import smooth_noise

FIELD_PX = 256
PIXEL_UM = 0.5
# Absorption of red, green and blue by haematoxylin and eosin: Ruifrok & Johnston, Anal Quant Cytol Histol 23:291, 2001.
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.07, 0.99, 0.11])


@dataclass(frozen=True, eq=False)
class Stain:
    """How one laboratory stains: the colours ``(3,)`` of both stains and their strengths."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    haematoxylin_strength: float
    eosin_strength: float
    light: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Stain":
        return cls(
            haematoxylin=_HAEMATOXYLIN + rng.uniform(-0.05, 0.05, 3),
            eosin=_EOSIN * np.array([1.0, 0.85, 1.0]) + np.array([0.05, 0.0, 0.14]) + rng.uniform(-0.05, 0.05, 3),
            haematoxylin_strength=rng.uniform(0.55, 1.45),
            eosin_strength=rng.uniform(0.7, 1.35),
            light=rng.uniform(238, 250),
        )

    def photograph(self, haematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
        """Stain amounts (i, j) → light that comes through (i, j, 3), 0 … 255."""
        density = (haematoxylin * self.haematoxylin_strength)[..., None] * self.haematoxylin
        density = density + (eosin * self.eosin_strength)[..., None] * self.eosin
        return self.light * np.exp(-density)


def draw_he_field(rng: np.random.Generator, stain: Stain, count: int) -> Field:
    """An H&E-like field of `FIELD_PX` squared with up to ``count`` nuclei; 0: bare stroma."""
    shape = (FIELD_PX, FIELD_PX)
    nest = _nests(rng, shape, count) if count else np.zeros(shape, dtype=np.float32)
    nuclei = draw_nuclei(rng, count, nest)
    haematoxylin, eosin = _tissue(rng, nest)
    _add_cytoplasm(rng, haematoxylin, eosin, nuclei, nest)
    _add_red_cells(rng, haematoxylin, eosin, nest, nuclei)
    instances = np.zeros(shape, dtype=np.uint16)
    lower, upper = np.zeros((len(nuclei), 2)), np.zeros((len(nuclei), 2))
    grain = smooth_noise(rng, shape, 0.9)
    for index in range(len(nuclei)):
        print_ = footprint(nuclei, index, shape)
        instances[print_.window][print_.inside] = index + 1
        _stain_nucleus(rng, haematoxylin, eosin, print_, grain, bool(nuclei.tumour[index]))
        lower[index], upper[index] = nuclei.extent(index)
    _add_dust(rng, haematoxylin)
    thickness = np.clip(1 + 0.2 * smooth_noise(rng, shape, 40.0), 0.55, 1.5)
    light = stain.photograph(haematoxylin * thickness, eosin * thickness)
    light = gaussian_filter(light, (0.75, 0.75, 0)) + rng.normal(0, 2.5, light.shape)
    edge = np.array(shape) - 0.5
    return Field(
        pixels=np.clip(np.round(light), 0, 255).astype(np.uint8),
        centres=nuclei.centres,
        lower=np.clip(lower, -0.5, edge),
        upper=np.clip(upper, -0.5, edge),
        labels=nuclei.labels,
        instances=instances,
    )


def _nests(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Where tumour nests lie, 0 … 1, with a soft border; the more cells, the larger, so that they are crowded."""
    field = smooth_noise(rng, shape, 26.0) + 0.18 * smooth_noise(rng, shape, 7.0)
    border = np.quantile(field, 1 - min(0.0024 * count, 0.8))
    return np.clip((field - border) / 0.12 + 0.5, 0, 1).astype(np.float32)


def _fibres(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Wavy bundles of fibres, mean 0: noise stretched along one direction and then bent."""
    sheet = smooth_noise(rng, shape, (1.1, 14.0)) + 0.6 * smooth_noise(rng, shape, (2.5, 30.0))
    i, j = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    angle = rng.uniform(0, np.pi)
    across = i * np.cos(angle) + j * np.sin(angle) + 9 * smooth_noise(rng, shape, 22.0)
    along = -i * np.sin(angle) + j * np.cos(angle) + 5 * smooth_noise(rng, shape, 22.0)
    return map_coordinates(sheet, [across, along], order=1, mode="mirror")


def _tissue(rng: np.random.Generator, nest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amounts of haematoxylin and eosin of stroma (pink, fibrous, with clefts) and of nests (purple-grey)."""
    shape = nest.shape
    fibres = _fibres(rng, shape)
    stroma_eosin = 0.42 + 0.13 * fibres + 0.06 * smooth_noise(rng, shape, 12.0)
    clefts = np.clip((fibres - 1.0) * 1.2, 0, 1) + np.clip((smooth_noise(rng, shape, 9.0) - 1.7) * 2.5, 0, 1)
    stroma_eosin *= 1 - 0.85 * np.clip(clefts, 0, 1)
    nest_eosin = 0.34 + 0.05 * smooth_noise(rng, shape, 1.5) + 0.04 * smooth_noise(rng, shape, 10.0)
    eosin = nest * nest_eosin + (1 - nest) * stroma_eosin
    stroma_haematoxylin = 0.07 + 0.04 * np.clip(-fibres, 0, 2)
    basophilia = 0.34 + 0.2 * smooth_noise(rng, shape, 9.0) + 0.05 * smooth_noise(rng, shape, 1.8)
    haematoxylin = nest * np.clip(basophilia, 0.08, 0.75) + (1 - nest) * stroma_haematoxylin
    retraction = np.clip(1 - np.abs(nest - 0.25) / 0.2, 0, 1) * np.clip(smooth_noise(rng, shape, 12.0), 0, 1)
    return np.clip(haematoxylin, 0, None) * (1 - 0.8 * retraction), np.clip(eosin, 0, None) * (1 - 0.8 * retraction)


def _add_cytoplasm(
    rng: np.random.Generator, haematoxylin: np.ndarray, eosin: np.ndarray, nuclei: Nuclei, nest: np.ndarray
) -> None:
    """Borders between neighbouring tumour cells: eosin where two nuclei are equally far."""
    if nuclei.tumour.sum() < 2:
        return
    centres = nuclei.centres[nuclei.tumour]
    pixels = np.stack(np.meshgrid(*(np.arange(n) for n in nest.shape), indexing="ij"), axis=-1).reshape(-1, 2)
    distances, _ = cKDTree(centres).query(pixels + 1.2 * rng.standard_normal(2), k=2)
    between = (distances[:, 1] - distances[:, 0]).reshape(nest.shape)
    membrane = np.clip(1 - between / 1.6, 0, 1) * nest
    eosin += 0.16 * membrane
    haematoxylin += 0.05 * membrane


def _add_red_cells(
    rng: np.random.Generator, haematoxylin: np.ndarray, eosin: np.ndarray, nest: np.ndarray, nuclei: Nuclei
) -> None:
    """Clusters of red blood cells in the stroma: round, of a nucleus' size, and no nuclei."""
    i, j = np.meshgrid(*(np.arange(n) for n in nest.shape), indexing="ij")
    for _ in range(rng.integers(0, 4)):
        middle = rng.uniform(0, 1, 2) * np.array(nest.shape)
        for centre in middle + rng.normal(0, 9, (rng.integers(3, 12), 2)):
            inside = np.clip(np.round(centre), 0, np.array(nest.shape) - 1).astype(int)
            apart = np.linalg.norm(nuclei.centres - centre, axis=1) - nuclei.radii
            if nest[tuple(inside)] > 0.3 or (apart < 4).any():
                continue
            share = np.clip(3.6 - np.hypot(i - centre[0], j - centre[1]), 0, 1)
            eosin += share * (1.0 - eosin)
            haematoxylin *= 1 - share


def _add_dust(rng: np.random.Generator, haematoxylin: np.ndarray) -> None:
    """Specks of stain and of dead nuclei: darker than any nucleus, and smaller."""
    count = rng.integers(25, 65)
    middles = rng.uniform(2, np.array(haematoxylin.shape) - 3, (count, 2))
    for middle, radius in zip(middles, rng.uniform(0.5, 1.3, count), strict=True):
        i, j = np.round(middle).astype(int)
        window = (slice(i - 2, i + 3), slice(j - 2, j + 3))
        di, dj = np.ogrid[i - 2 : i + 3, j - 2 : j + 3]
        share = np.clip(radius + 0.5 - np.hypot(di - middle[0], dj - middle[1]), 0, 1)
        patch = haematoxylin[window]
        patch += share * np.clip(1.9 - patch, 0, None)


def _stain_nucleus(
    rng: np.random.Generator,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    print_: Footprint,
    grain: np.ndarray,
    tumour: bool,
) -> None:
    """Tumour: pale with a rim, clumped chromatin and nucleoli; few are dark. Other: dark throughout; some paler."""
    depth, share = print_.depth, print_.share
    if tumour:
        ground = rng.uniform(0.95, 1.2) if rng.random() < 0.08 else rng.uniform(0.34, 0.9)
        clumps = np.clip(np.roll(grain, int(rng.integers(256)), axis=0)[print_.window] - 0.2, 0, 1.6)
        amount = ground + 0.42 * clumps + 0.42 * np.exp(-(((depth - 0.7) / 0.9) ** 2))
        for _ in range(rng.integers(0, 4)):
            amount = amount + rng.uniform(0.25, 0.9) * _spot(rng, depth, rng.uniform(1.0, 1.5))
    else:
        ground = rng.uniform(0.75, 1.1) if rng.random() < 0.2 else rng.uniform(1.15, 1.5)
        amount = ground + 0.2 * grain[print_.window]
    patch = haematoxylin[print_.window]
    patch += share * (np.clip(amount, 0.1, None) - patch)
    eosin[print_.window] *= 1 - 0.55 * share


def _spot(rng: np.random.Generator, depth: np.ndarray, radius: float) -> np.ndarray:
    """A small round spot (0 … 1) somewhere well inside a nucleus."""
    deep = np.argwhere(depth > 0.4 * depth.max())
    middle = deep[rng.integers(len(deep))]
    i, j = np.ogrid[: depth.shape[0], : depth.shape[1]]
    return np.clip(radius + 0.5 - np.hypot(i - middle[0], j - middle[1]), 0, 1)
