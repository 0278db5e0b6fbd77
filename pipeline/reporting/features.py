"""What the network sees: feature maps of its first, middle and last resolution, from simple to complex."""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.explanation.features import choose_channels

_SHOWN_CHANNELS = 8
_WORDS = {1: ("only",), 2: ("first", "last"), 3: ("first", "middle", "last")}
_FIELD = "#FFB000"


def feature_maps(
    stages: Mapping[str, np.ndarray],
    image: np.ndarray | None = None,
    fields: Mapping[str, tuple[int, ...]] | None = None,
) -> bytes:
    """A picture with one row a resolution, as PNG.

    Args:
        stages: name → feature maps ``(channel, i, j[, k])``, from the finest resolution to the coarsest. The first,
            the middle and the last are shown, and of each the eight channels that vary most without showing the same
            twice (see `choose_channels`), or all if fewer. Of a volume the middle slice along ``k`` is shown.
        image: the network's input ``(channel, i, j[, k])``, shown before each row.
        fields: name → receptive field in voxels of the input along ``i`` and ``j``; drawn on the input.

    Raises:
        ValueError: no stage, or one that has not three or four axes.
    """
    if not stages:
        raise ValueError("feature maps need at least one stage, got none")
    names = list(stages)
    chosen = sorted({0, len(names) // 2, len(names) - 1})
    columns = _SHOWN_CHANNELS + (image is not None)
    # By hand: matplotlib's layouts would make a column as wide as the row's title.
    height = 1.65 * len(chosen) + 0.12
    figure = Figure(figsize=(1.35 * columns, height), dpi=110)
    figure.subplots_adjust(0.006, 0.17 / height, 0.994, 1 - 0.28 / height, wspace=0.06, hspace=0.24)
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    for row, (index, word) in enumerate(zip(chosen, _WORDS[len(chosen)], strict=True)):
        name, cells = names[index], list(axes[row])
        planes = _planes(stages[name], name)
        for cell in cells:
            cell.set_axis_off()
        if image is not None:
            _show_input(cells.pop(0), image, name, (fields or {}).get(name))
        shown = choose_channels(planes, _SHOWN_CHANNELS)
        size = f"{planes.shape[2]} × {planes.shape[1]} cells, {len(shown)} of {len(planes)} channels"
        cells[0].set_title(f"{word.capitalize()} stage: {name}; {size}", fontsize=8.5, loc="left")
        for cell, channel in zip(cells, shown, strict=False):
            plane = planes[channel]
            low, high = np.percentile(plane, [0.5, 99.5])
            cell.text(0.5, -0.02, f"channel {channel}", fontsize=6.5, ha="center", va="top", transform=cell.transAxes)
            cell.imshow(plane, cmap="cividis", interpolation="nearest", vmin=low, vmax=max(high, low + 1e-12))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _show_input(cell: Axes, image: np.ndarray, name: str, field: tuple[int, ...] | None) -> None:
    plane = _planes(image, f"input of {name}")
    low, high = float(plane.min()), float(plane.max())
    scaled = (plane - low) / (high - low) if high > low else np.zeros_like(plane)
    shown = scaled.transpose(1, 2, 0) if len(scaled) == 3 else scaled[0]
    cell.imshow(shown, cmap="gray", vmin=0, vmax=1)
    if field is None:
        cell.set_title("input", fontsize=8.5, loc="left")
        return
    rows, columns = shown.shape[:2]
    width, height = min(field[0], columns - 1), min(field[1], rows - 1)
    corner = ((columns - width) / 2 - 0.5, (rows - height) / 2 - 0.5)
    for colour, line in (("black", 2.6), (_FIELD, 1.4)):
        cell.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=line))
    cell.set_title("input, one cell's view", fontsize=7, loc="left")


def _planes(maps: np.ndarray, name: str) -> np.ndarray:
    """``(channel, i, j[, k])`` → ``(channel, rows, columns)``, the middle slice of a volume."""
    if maps.ndim not in (3, 4):
        raise ValueError(f"stage {name}: expected (channel, i, j) or (channel, i, j, k), got shape {maps.shape}")
    plane = maps if maps.ndim == 3 else maps[..., maps.shape[3] // 2]
    return np.nan_to_num(np.asarray(plane, dtype=np.float64)).transpose(0, 2, 1)
