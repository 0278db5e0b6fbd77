"""Where the tiles of a whole slide image lie: one layout for each focal plane and optical path.

Source: DICOM PS3.3 C.8.12.14 (tiles), C.7.6.17.3 (order of frames), C.8.12.6.1 (places of frames).
"""

from collections import defaultdict

from pydicom.dataset import Dataset

from pipeline.errors import SourceError
from pipeline.sources.dicom.concatenations import JoinedFrames
from pipeline.sources.dicom.functional_groups import FunctionalGroups
from pipeline.sources.dicom.header import numbers, text, whole_number
from pipeline.sources.dicom.tiles import FullLayout, Layout, SparseLayout, Tile

# A header may claim any size; more pixels than this are no slide, or one that is nearly all absent.
_MOST_PIXELS = 1 << 38
_MOST_ABSENT = 1000

# A layout with its optical path and its focal plane, each as (number from 1, how many).
Placed = tuple[Layout, tuple[int, int], tuple[int, int]]


def layouts(joined: JoinedFrames, size: tuple[int, int]) -> list[Placed]:
    """The layouts of one object whose total pixel matrix has ``size`` (columns, rows).

    Raises:
        SourceError: frames are missing or too many, have no place or one outside, or cover next to nothing.
    """
    dataset, tile = joined.dataset, joined.files[0].matrix
    way = text(dataset, "DimensionOrganizationType")
    if way == "TILED_FULL":
        found = _full(joined, size, tile)
    elif way == "TILED_SPARSE" or "PerFrameFunctionalGroupsSequence" in dataset:
        found = _sparse(joined, size, tile)
    elif joined.count == 1 and tile == size:
        found = [(FullLayout(size, tile), (1, 1), (1, 1))]
    else:
        raise SourceError("DimensionOrganizationType must be TILED_FULL or TILED_SPARSE, and no frame says its place")
    for layout, _, _ in found:
        _check_size(layout)
    return found


def _full(joined: JoinedFrames, size: tuple[int, int], tile: tuple[int, int]) -> list[Placed]:
    """Every tile of the first focal plane, then of the next one; then the same through the next optical path."""
    paths = whole_number(joined.dataset, "NumberOfOpticalPaths", len(joined.dataset.get("OpticalPathSequence") or [1]))
    planes = whole_number(joined.dataset, "TotalPixelMatrixFocalPlanes", 1)
    tiles = FullLayout(size, tile).count
    if min(paths, planes) < 1 or tiles * paths * planes != joined.count:
        raise SourceError(
            f"{size[0]} x {size[1]} pixels in tiles of {tile[0]} x {tile[1]}, {planes} focal plane(s) and {paths} "
            f"optical path(s) call for {tiles * paths * planes} frames, got {joined.count}"
        )
    return [
        (FullLayout(size, tile, (path * planes + plane) * tiles), (path + 1, paths), (plane + 1, planes))
        for path in range(paths)
        for plane in range(planes)
    ]


def _sparse(joined: JoinedFrames, size: tuple[int, int], tile: tuple[int, int]) -> list[Placed]:
    """By optical path, and by depth where tiles lie at one place; else the depth only follows the tissue's surface."""
    by_path: dict[str, list[tuple[float, Tile]]] = defaultdict(list)
    number = 0
    for file in joined.files:
        groups = FunctionalGroups.of(file.dataset, file.count)
        for frame in range(file.count):
            if not joined.is_empty(number):
                path, depth, column, row = _place(groups.of_frame(frame), number)
                by_path[path].append((depth, (number, column, row)))
            number += 1
    if not by_path:
        raise SourceError(f"none of {joined.count} frames holds pixels")
    found: list[Placed] = []
    for which, path in enumerate(sorted(by_path), 1):
        planes = _planes(by_path[path])
        for level, tiles in enumerate(planes, 1):
            found.append((SparseLayout(size, tile, tuple(tiles)), (which, len(by_path)), (level, len(planes))))
    return found


def _planes(tiles: list[tuple[float, Tile]]) -> list[list[Tile]]:
    if len({tile[1:] for _, tile in tiles}) == len(tiles):
        return [[tile for _, tile in tiles]]
    planes: dict[float, list[Tile]] = defaultdict(list)
    for depth, tile in tiles:
        planes[depth].append(tile)
    return [planes[depth] for depth in sorted(planes)]


def _place(items: dict[str, Dataset], number: int) -> tuple[str, float, int, int]:
    """A frame's optical path, depth, and the column and row of its first pixel, from 0."""
    place = items.get("PlanePositionSlideSequence")
    if place is None:
        raise SourceError(f"PlanePositionSlideSequence is missing for frame {number + 1}, so the tile has no place")
    path = items.get("OpticalPathIdentificationSequence")
    depth = numbers(place, "ZOffsetInSlideCoordinateSystem", 1)
    return (
        "" if path is None else text(path, "OpticalPathIdentifier"),
        0.0 if depth is None else depth[0],
        whole_number(place, "ColumnPositionInTotalImagePixelMatrix") - 1,
        whole_number(place, "RowPositionInTotalImagePixelMatrix") - 1,
    )


def _check_size(layout: Layout) -> None:
    pixels = layout.size[0] * layout.size[1]
    if pixels > _MOST_PIXELS:
        raise SourceError(f"{layout.size[0]} x {layout.size[1]} pixels are more than any slide has ({_MOST_PIXELS})")
    covered = pixels - layout.absent
    if layout.absent > _MOST_ABSENT * covered and pixels > 1 << 28:
        raise SourceError(f"the tiles cover {covered} of {pixels} pixels: less than one in {_MOST_ABSENT} is there")
