"""A label map as TIFF, of a picture of any size: a large one is written tile by tile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.detections.detection import Detections
from pipeline.detections.outlines import label_map, label_strips

# A map of more pixels is written in tiles of this edge, a row of them at a time.
_PIXELS, _TILE = 16_000_000, 512


def write_label_tiff(path: Path, detections: Detections) -> None:
    """Rows run along ``j``; value ``n`` is the n-th detection, see `label_map`. A large picture gives a BigTIFF."""
    import tifffile

    columns, rows = detections.boxes.grid.shape
    if columns * rows <= _PIXELS:
        tifffile.imwrite(path, label_map(detections).T.astype("uint32"), compression="zlib")
        return
    tifffile.imwrite(
        path,
        _tiles(detections),
        shape=(rows, columns),
        dtype="uint32",
        tile=(_TILE, _TILE),
        compression="zlib",
        photometric="minisblack",
        bigtiff=True,
    )


def _tiles(detections: Detections) -> Iterator[np.ndarray]:
    """``(row, column)`` of `_TILE` pixels each way, left to right, then top to bottom; 0 beyond the picture."""
    for strip in label_strips(detections, _TILE):
        for left in range(0, len(strip), _TILE):
            tile = np.zeros((_TILE, _TILE), np.uint32)
            piece = strip[left : left + _TILE].T
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile
