"""Fluorescence-like fields: nuclei that glow on a dark, uneven background; tumour nuclei are large and dim."""

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.sample.cells import Nuclei, Population, draw_nuclei, footprint
from pipeline.sample.field import Field
from pipeline.sample.noise import smooth_noise

FIELD_PX = 256
_POPULATIONS = (
    Population(radius=(7.0, 10.5), stretch=(1.05, 1.6), unevenness=0.05),
    Population(radius=(4.0, 5.6), stretch=(1.0, 1.35), unevenness=0.02),
)


def draw_fluorescence_field(rng: np.random.Generator, count: int) -> Field:
    """A fluorescence-like field of `FIELD_PX` squared with up to ``count`` nuclei; grey, 8 bits."""
    shape = (FIELD_PX, FIELD_PX)
    nest = np.clip(2 * smooth_noise(rng, shape, 24.0) + 0.9, 0, 1)
    nuclei = draw_nuclei(rng, count, nest, populations=_POPULATIONS)
    signal, instances = _glow(rng, nuclei, shape)
    lower, upper = (np.array(side) for side in zip(*(nuclei.extent(n) for n in range(len(nuclei))), strict=True))
    edge = np.array(shape) - 0.5
    return Field(
        pixels=_expose(rng, signal),
        centres=nuclei.centres,
        lower=np.clip(lower, -0.5, edge),
        upper=np.clip(upper, -0.5, edge),
        labels=nuclei.labels,
        instances=instances,
    )


def _glow(rng: np.random.Generator, nuclei: Nuclei, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Light of the nuclei (i, j), each in its own focus, and their numbers, uint16 (i, j)."""
    signal = np.zeros(shape, dtype=np.float64)
    instances = np.zeros(shape, dtype=np.uint16)
    grain = smooth_noise(rng, shape, 1.4)
    for index in range(len(nuclei)):
        softness = rng.uniform(1.5, 5.0)
        spot = footprint(nuclei, index, shape, softness)
        instances[spot.window][spot.inside] = index + 1
        tumour = nuclei.tumour[index]
        brightness = rng.uniform(28, 75) if tumour else rng.uniform(85, 200)
        texture = 1 + (0.22 if tumour else 0.1) * np.roll(grain, int(rng.integers(FIELD_PX)), axis=1)[spot.window]
        thickness = np.clip(0.75 + 0.06 * spot.depth, 0, 1.15)
        light = spot.share * brightness * texture * thickness
        patch = signal[spot.window]
        patch[...] = np.maximum(patch, light) + 0.3 * np.minimum(patch, light)
    return signal, instances


def _expose(rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
    """Uneven background, halo, uneven lamp, photon noise: light → 8 bits."""
    shape = signal.shape
    haze = 26 + 13 * smooth_noise(rng, shape, 36.0) + 2.2 * gaussian_filter(signal, 11.0)
    middle = rng.uniform(0.2, 0.8, 2) * np.array(shape)
    i, j = np.ogrid[: shape[0], : shape[1]]
    lamp = 1.15 - 0.7 * ((i - middle[0]) ** 2 + (j - middle[1]) ** 2) / (shape[0] ** 2)
    light = (np.clip(haze, 3, None) + gaussian_filter(signal, 0.8)) * lamp * rng.uniform(0.5, 1.15)
    photons = rng.poisson(np.clip(light, 0, None) * 1.2) / 1.2
    return np.clip(np.round(photons + rng.normal(0, 1.2, shape)), 0, 255).astype(np.uint8)
