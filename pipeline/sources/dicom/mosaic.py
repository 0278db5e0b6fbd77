"""Siemens mosaics: the slices of one MR volume, tiled in one picture.

How many tiles there are and which way they go is in a private header (CSA, group 0029). Source of the format and of
the first tile's position: nibabel's notes on Siemens mosaics (nipy.org/nibabel/dicom/dicom_mosaic.html), which
dcm2niix follows, too.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom.geometry import SlicePlace
from pipeline.sources.dicom.header import numbers

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_PARALLEL = 1e-3


def unpack(dataset: "FileDataset", plane: SlicePlace, pixels: np.ndarray) -> list[tuple[SlicePlace, np.ndarray]]:
    """The tiles of one mosaic, each with its place and pixels ``(row, column)``.

    Args:
        dataset: with its private elements.
        plane: the place that the header gives for the whole picture: its centre is the centre of the first tile.
        pixels: the picture, ``(row, column)``.

    Raises:
        SourceError: the private header does not say how many tiles there are, or contradicts the picture.
        GeometryError: it does not say in which direction and distance they follow each other.
    """
    header = _private_header(dataset)
    count = _count(dataset, header)
    across = int(np.ceil(np.sqrt(count)))
    columns, rows = plane.shape
    if columns % across or rows % across:
        raise SourceError(f"{count} slices call for {across} x {across} tiles, a mosaic of {columns} x {rows} has none")
    shape = (columns // across, rows // across)
    tiles = [_tile(pixels, number, across, shape) for number in range(across * across)]
    if any(tile.any() for tile in tiles[count:]):
        raise SourceError(f"the mosaic's header counts {count} slices, but a further tile is not empty")
    first = _first_position(plane, shape)
    step = _step(dataset, header, plane)
    return [(_place(plane, first + k * step, shape), tile) for k, tile in enumerate(tiles[:count])]


def _private_header(dataset: "FileDataset") -> dict[str, list[Any]]:
    """Siemens' CSA image header by name; empty where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel warns on import that this part is experimental
        from nibabel.nicom import csareader
    try:
        header = csareader.get_csa_header(dataset, "image")
        return {} if header is None else {name: tag["items"] for name, tag in header["tags"].items()}
    except Exception as error:
        raise SourceError(f"the mosaic's private header cannot be read ({type(error).__name__})") from error


def _count(dataset: "FileDataset", header: dict[str, list[Any]]) -> int:
    items = header.get("NumberOfImagesInMosaic", [])
    if not items:
        try:  # newer software repeats it as an element of its own
            items = [dataset.private_block(0x0019, "SIEMENS MR HEADER")[0x0A].value]
        except (KeyError, ValueError):
            raise SourceError(
                "ImageType says that this is a Siemens mosaic, but no header says of how many slices"
            ) from None
    try:
        count = int(items[0])
    except (TypeError, ValueError):
        count = 0
    if not 1 <= count <= 4096:
        raise SourceError(f"a mosaic must hold 1 to 4096 slices, its header says {count}")
    return count


def _tile(pixels: np.ndarray, number: int, across: int, shape: tuple[int, int]) -> np.ndarray:
    columns, rows = shape
    down, right = number // across * rows, number % across * columns
    return pixels[down : down + rows, right : right + columns]


def _first_position(plane: SlicePlace, shape: tuple[int, int]) -> np.ndarray:
    """Siemens gives the corner that the whole picture would have around the slice's centre."""
    beyond = (np.array(plane.shape) - np.array(shape)) / 2 * np.array(plane.spacing)
    return np.array(plane.position_lps) + beyond[0] * np.array(plane.row_lps) + beyond[1] * np.array(plane.column_lps)


def _step(dataset: "FileDataset", header: dict[str, list[Any]], plane: SlicePlace) -> np.ndarray:
    """From one tile to the next, LPS mm."""
    stated = header.get("SliceNormalVector", [])
    if len(stated) != 3 or not all(isinstance(one, float) for one in stated):
        raise GeometryError("the mosaic's private header gives no SliceNormalVector: which slice is first is unknown")
    along = float(np.dot(stated, plane.normal_lps))
    if abs(abs(along) - 1) > _PARALLEL:
        raise GeometryError(
            f"the mosaic's SliceNormalVector must be normal to its rows and columns: cosine {along:.4f}"
        )
    distance = numbers(dataset, "SpacingBetweenSlices", 1)
    if distance is None or distance[0] <= 0:
        raise GeometryError("the mosaic gives no SpacingBetweenSlices: how far its slices lie apart is unknown")
    return np.sign(along) * distance[0] * plane.normal_lps


def _place(plane: SlicePlace, position: np.ndarray, shape: tuple[int, int]) -> SlicePlace:
    return SlicePlace(
        tuple(float(one) for one in position), plane.row_lps, plane.column_lps, plane.spacing, shape, plane.thickness
    )
