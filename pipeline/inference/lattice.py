"""What a picture too large to be looked at whole is made of, by a sample of it."""

import numpy as np

from pipeline.volumes.arrays import Voxels

# Squares in a lattice of at most so many along each axis: a million pixels.
_SQUARES, _EDGE = 16, 64


def sampled(image: Voxels) -> np.ndarray:
    """Pixels ``(channel, n)`` of small squares, evenly spread over a picture ``(channel, i, j)``, always the same."""
    lows = [_lows(n) for n in image.shape[1:]]
    squares = [image[:, i : i + _EDGE, j : j + _EDGE] for i in lows[0] for j in lows[1]]
    return np.concatenate([square.reshape(len(square), -1) for square in squares], axis=1)


def _lows(voxels: int) -> list[int]:
    """The first voxel of each square along an axis; squares do not overlap."""
    count = min(_SQUARES, max(1, voxels // _EDGE))
    return [max(int((n + 0.5) * voxels / count - _EDGE / 2), 0) for n in range(count)]
