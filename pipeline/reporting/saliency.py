"""A saliency map over the scan it tells of, as PNG."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.detections import Detections
from pipeline.explanation.detection import ExplainedDetection
from pipeline.explanation.saliency import Saliency
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.display import Intensity, grey_range, to_picture
from pipeline.reporting.overlay import draw, montage
from pipeline.reporting.panels import Marks, Panel, Region, nearest_slice, panel
from pipeline.types import Image

RAISED, LOWERED = np.array([255.0, 70.0, 30.0]), np.array([40.0, 120.0, 255.0])
_OPAQUE = 0.85
# The strongest voxels are drawn alike, so that a single one does not hide the others.
_STRONGEST = 99.8


def saliency_png(
    image: Image,
    grid: Grid,
    detections: Detections,
    index: int,
    maps: Sequence[tuple[str, Saliency]],
    *,
    intensity: Intensity | None = None,
    bare: bool = True,
) -> bytes:
    """The surroundings of a detection, first bare with its box, then under each map.

    Args:
        image: ``(channel, i, j[, k])`` on ``grid``.
        grid: the scan's. Of a volume the slice nearest to the detection's centre is shown.
        detections: on ``grid``.
        index: of the detection that the maps are about.
        maps: caption and map; each is coloured relative to its own strongest values: red raised the score, blue
            lowered it.
        intensity: how grey values are shown (see `display.grey_range`).
        bare: whether the bare picture comes first.
    """
    boxes = detections.boxes[index : index + 1]
    region = Region.around(boxes, 0, grid)
    slice_index = nearest_slice(boxes, 0) if grid.dims == 3 else None
    shown = grey_range(image, intensity)
    plane = np.asarray(image if slice_index is None else image[..., slice_index : slice_index + 1][..., 0])
    grey = to_picture(plane, shown).transpose(2, 1, 0).astype(np.float64)  # (3, i, j)
    mark = Marks("detection", boxes, np.zeros(1, dtype=bool), detections.scores[index : index + 1])
    outline = replace(mark, scores=None)
    where = f"detection {index + 1}" + ("" if slice_index is None else f", slice {slice_index + 1} of {grid.shape[2]}")
    panels = [_panel(grey, grid, mark, region, slice_index, where)] if bare else []
    for caption, one in maps:
        values = one.on(_plane_grid(grid, slice_index)).reshape(grid.shape[:2])
        panels.append(_panel(_tinted(grey, values, region), grid, outline, region, slice_index, caption))
    buffer = io.BytesIO()
    montage([draw(one) for one in panels]).save(buffer, format="PNG", optimize=False, compress_level=4)
    return buffer.getvalue()


def explained_png(
    image: Image,
    detections: Detections,
    index: int,
    explained: ExplainedDetection,
    data: DataConfig,
    intensity: Intensity | None,
) -> dict[str, bytes]:
    """PNG by name: ``saliency``, the detection, its map and that of random weights; ``sanity``, its map beside those of
    networks with more and more random layers, each with its likeness to the true one.

    Args:
        image: ``(channel, i, j[, k])`` on the grid of the detections.
        detections: of the scan.
        index: of the one explained.
        explained: its maps.
        data: of the experiment; where that works in pixels, the maps lie in a world of pixels too.
        intensity: how grey values are shown.
    """
    grid = Grid.of_pixels(detections.boxes.grid.shape) if data.in_pixels else detections.boxes.grid
    boxes = Boxes(detections.boxes.lower, detections.boxes.upper, grid)
    placed = replace(detections, boxes=boxes)
    sides = (
        ("red raised the score, blue lowered it", explained.saliency),
        ("the same with random weights", explained.random),
    )
    forgotten = tuple(
        (f"random down to the {level.layers}: correlation {_known(level.signed)}", one)
        for level, one in zip(explained.sanity.cascade, explained.cascade, strict=True)
    )
    levels = (("trained weights", explained.saliency), *forgotten)
    return {
        "saliency": saliency_png(image, grid, placed, index, sides, intensity=intensity),
        "sanity": saliency_png(image, grid, placed, index, levels, intensity=intensity, bare=False),
    }


def _known(value: float) -> str:
    return "unknown" if value != value else f"{round(value, 2) + 0.0:.2f}"


def _panel(picture: np.ndarray, grid: Grid, mark: Marks, region: Region, slice_index: int | None, text: str) -> Panel:
    """``picture`` ``(3, i, j)`` in 0 … 255, flipped and outlined as every picture of the scan is."""
    if slice_index is None:
        return panel(picture, grid, [mark], shown=(0.0, 255.0), region=region, caption=text)
    # One slice stands for the volume: boxes and grid are moved so that it is number 0.
    single = _plane_grid(grid, slice_index)
    offset = np.array([0.0, 0.0, slice_index])
    moved = replace(mark, boxes=Boxes(mark.boxes.lower - offset, mark.boxes.upper - offset, single))
    return panel(picture[..., None], single, [moved], shown=(0.0, 255.0), region=region, slice_index=0, caption=text)


def _plane_grid(grid: Grid, slice_index: int | None) -> Grid:
    if slice_index is None:
        return grid
    return grid.crop((0, 0, slice_index), (grid.shape[0], grid.shape[1], slice_index + 1))


def _tinted(grey: np.ndarray, values: np.ndarray, region: Region) -> np.ndarray:
    """Colour over grey, the more opaque the stronger the value ``(i, j)`` is, relative to the region's strongest."""
    (i0, j0), (i1, j1) = region.lower, region.upper
    here = np.abs(values[i0:i1, j0:j1])
    if not here.any():
        return grey
    strongest = float(np.percentile(here[here > 0], _STRONGEST))
    strength = np.clip(np.abs(values) / strongest, 0, 1)[None] * _OPAQUE
    colour = np.where(values[None] > 0, RAISED[:, None, None], LOWERED[:, None, None])
    # Colours of a stained field would mix with the map's: under a map the field is grey.
    return grey.mean(axis=0, keepdims=True) * (1 - strength) + colour * strength
