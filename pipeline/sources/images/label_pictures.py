"""Label maps that are pictures: their numbers as stored, whatever the format."""

from pathlib import Path

import numpy as np

from pipeline.sources.images.pictures import read_pixels
from pipeline.sources.images.tiff import read_tiff

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_label_picture(path: Path) -> np.ndarray:
    """``(channel, i, j[, k])`` of a PNG, JPEG or TIFF; a palette's indices in the place of its colours.

    Raises:
        SourceError: not a readable picture, or it holds several.
    """
    with path.open("rb") as stream:
        tiff = stream.read(4) in _TIFF_MAGIC
    return read_tiff(path) if tiff else read_pixels(path, indices=True).transpose(2, 1, 0)
