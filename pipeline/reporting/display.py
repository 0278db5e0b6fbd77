"""Voxels → what a screen shows: 8-bit pictures with rows down and columns to the right."""

import numpy as np

from pipeline.config.transforms import Percentiles, Window
from pipeline.geometry import Grid
from pipeline.types import Image

Intensity = Window | Percentiles

# Percentiles are read off at most this many voxels, evenly spaced through the volume.
_SAMPLED_VOXELS = 1_000_000


def grey_range(image: Image, intensity: Intensity | None) -> tuple[float, float]:
    """The values that are shown black and white.

    Args:
        image: ``(channel, i, j[, k])``.
        intensity: a window as it is; percentiles of this image; ``None``: 0 … 255 for 8-bit images, else the
            percentiles 0.5 … 99.5.
    """
    if isinstance(intensity, Window):
        return intensity.lower, intensity.upper
    if intensity is None and image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (intensity.lower, intensity.upper) if intensity else (0.5, 99.5)
    step = max(1, round((image.size / _SAMPLED_VOXELS) ** (1 / (image.ndim - 1))))
    every = (slice(None), *(slice(None, None, step) for _ in image.shape[1:]))
    sampled = np.asarray(image[every], dtype=np.float64)
    finite = sampled[np.isfinite(sampled)]
    if finite.size == 0:
        return 0.0, 1.0
    lower, upper = np.percentile(finite, [low, high])
    return float(lower), float(upper)


def to_picture(plane: Image, shown: tuple[float, float]) -> np.ndarray:
    """``(channel, i, j)`` → ``(rows, columns, 3)`` uint8: ``j`` down, ``i`` to the right.

    Three channels are red, green, blue; of any other number the first is shown, in grey. Values outside ``shown``
    are black or white, as on any viewer; voxels that are not a number are black.
    """
    lower, upper = shown
    channels = plane if plane.shape[0] == 3 else plane[:1]
    values = np.nan_to_num(np.asarray(channels, dtype=np.float64), nan=lower, posinf=upper, neginf=lower)
    scaled = (values - lower) / (upper - lower) if upper > lower else np.full_like(values, 0.5)
    picture = np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8).transpose(2, 1, 0)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def flips(grid: Grid) -> tuple[bool, bool]:
    """Whether ``i`` and ``j`` are shown backwards.

    2D fields never. Slices of a 3D volume are shown as radiologists look at them: towards the patient's left, back or
    feet, rightwards and downwards, by the world axis that lies nearest to the array axis.
    """
    if grid.dims == 2:
        return False, False
    backwards = [float(grid.affine[np.argmax(np.abs(grid.affine[:3, axis])), axis]) > 0 for axis in (0, 1)]
    return backwards[0], backwards[1]


def edge_letters(grid: Grid) -> tuple[str, str, str, str] | None:
    """The patient's side at the picture's left, top, right and bottom edge; ``None`` for 2D fields.

    R and L right and left, A and P front and back, S and I head and feet: of the world axis that lies nearest.
    """
    if grid.dims == 2:
        return None
    near = [int(np.argmax(np.abs(grid.affine[:3, axis]))) for axis in (0, 1)]
    return "RAS"[near[0]], "RAS"[near[1]], "LPI"[near[0]], "LPI"[near[1]]
