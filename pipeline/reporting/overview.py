"""A picture too large for a screen, as a whole: made smaller row by row, with a dot for each detection."""

import io
import itertools

import numpy as np
from PIL import Image as Pillow

from pipeline.detections import Detections
from pipeline.reporting.display import Intensity, grey_range, to_picture
from pipeline.reporting.overlay import COLOURS
from pipeline.types import Points
from pipeline.volumes.arrays import Voxels

# Longer edge of an overview; what has more pixels altogether than so many is shown as one.
_EDGE, _PIXELS = 2000, 9_000_000
_ROWS = 512
# Dots reach so far around their middle, but of more than so many each is one pixel.
_REACH, _MANY = 2, 20_000


def needs_overview(shape: tuple[int, ...]) -> bool:
    """Whether a 2D picture of ``shape`` ``(i, j)`` is too large to be drawn pixel by pixel; volumes never are."""
    return len(shape) == 2 and shape[0] * shape[1] > _PIXELS


def overview_png(image: Voxels, detections: Detections, threshold: float, intensity: Intensity | None = None) -> bytes:
    """A picture of at most 2,000 pixels along its longer edge, of which a row of tiles is read at a time.

    Args:
        image: ``(channel, i, j)`` on the grid of the detections.
        detections: those with a score below ``threshold`` have no dot.
        threshold: the version's.
        intensity: as for `overlay.overlay_png`, by what is shown.

    Returns:
        The PNG's bytes. Rows run down along ``j``, columns to the right along ``i``.
    """
    factor = -(-max(image.shape[1:]) // _EDGE)
    small = smaller(image, factor)
    picture = to_picture(small, grey_range(small.astype(image.dtype), intensity))
    _dot(picture, detections.above(threshold).boxes.centres, factor)
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _dot(picture: np.ndarray, centres: Points, factor: int) -> None:
    """Draw on ``picture`` ``(row, column, 3)``; ``centres`` ``(n, 2)`` are pixel indices of the image itself."""
    at = np.floor((centres + 0.5) / factor).astype(np.int64)
    reach = 0 if len(at) > _MANY else _REACH
    for i, j in itertools.product(range(-reach, reach + 1), repeat=2):
        column, row = (np.clip(at[:, axis] + off, 0, picture.shape[1 - axis] - 1) for axis, off in enumerate((i, j)))
        picture[row, column] = COLOURS["detection"]


def smaller(image: Voxels, factor: int) -> np.ndarray:
    """Means ``(channel, i, j)`` float32 of squares of ``factor`` pixels; what is left at the far edges is left out."""
    columns, rows = (n // factor for n in image.shape[1:])
    at_once = max(_ROWS // factor, 1)
    made = np.empty((image.shape[0], columns, rows), np.float32)
    for first in range(0, rows, at_once):
        last = min(first + at_once, rows)
        strip = image[:, : columns * factor, first * factor : last * factor]
        squares = strip.reshape(len(strip), columns, factor, last - first, factor)
        made[:, :, first:last] = squares.mean(axis=(2, 4), dtype=np.float32)
    return made
