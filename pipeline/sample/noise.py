"""Seeded randomness and smooth random fields."""

from enum import IntEnum

import numpy as np
from scipy.ndimage import gaussian_filter

# From this smoothness on, the field is made on a coarser lattice and enlarged: the same look for less time.
_COARSE_FROM_SIGMA = 4.0


class Part(IntEnum):
    """Parts of the archive, each item of which has its own stream of random numbers."""

    CT = 1
    MR = 2
    HE = 3
    FLUORESCENCE = 4
    STAINING = 5


def stream(seed: int, part: Part, index: int) -> np.random.Generator:
    """The random numbers of one item: the same for the same three numbers, whatever else is made."""
    return np.random.default_rng([seed, int(part), index])


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> np.ndarray:
    """A smooth field ``shape`` of mean 0 and standard deviation 1, float32; ``sigma`` in array elements."""
    sigmas = np.broadcast_to(np.asarray(sigma, dtype=float), (len(shape),))
    steps = np.where(sigmas >= _COARSE_FROM_SIGMA, np.floor(sigmas / 2), 1).astype(int)
    coarse = tuple(int((n - 1) // step) + 2 if step > 1 else n for n, step in zip(shape, steps, strict=True))
    field = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigmas / steps, mode="wrap", truncate=3.0)
    for axis, (count, step) in enumerate(zip(shape, steps, strict=True)):
        if step > 1:
            field = _enlarged(field, axis, count, int(step))
    field -= field.mean()
    return field / max(float(field.std()), 1e-6)


def _enlarged(field: np.ndarray, axis: int, count: int, step: int) -> np.ndarray:
    """Linear interpolation of ``field`` along ``axis`` to ``count`` elements, ``step`` for each of its own."""
    place = np.arange(count, dtype=np.float32) / step
    before = place.astype(np.intp)
    share = (place - before).reshape([-1 if other == axis else 1 for other in range(field.ndim)])
    left, right = field.take(before, axis=axis), field.take(before + 1, axis=axis)
    right -= left
    right *= share
    right += left
    return right
