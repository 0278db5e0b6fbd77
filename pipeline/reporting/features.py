"""What the network sees: feature maps of its first, middle and last resolution, from simple to complex."""

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_SHOWN_CHANNELS = 8


def feature_maps(stages: Mapping[str, np.ndarray], image: np.ndarray | None = None) -> bytes:
    """A picture with one row a resolution, as PNG.

    Args:
        stages: name → feature maps ``(channel, i, j[, k])``, from the finest resolution to the coarsest. The first,
            the middle and the last are shown, and of each the eight channels that vary most, or all if fewer. Of a
            volume the middle slice along ``k`` is shown.
        image: the network's input ``(channel, i, j[, k])``, shown before the first row.

    Raises:
        ValueError: no stage, or one that has not three or four axes.
    """
    if not stages:
        raise ValueError("feature maps need at least one stage, got none")
    names = list(stages)
    chosen = sorted({0, len(names) // 2, len(names) - 1})
    columns = _SHOWN_CHANNELS + (image is not None)
    figure = Figure(figsize=(1.25 * columns, 1.45 * len(chosen) + 0.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    for row, index in enumerate(chosen):
        planes = _planes(stages[names[index]], names[index])
        cells = list(axes[row])
        for cell in cells:
            cell.set_axis_off()
        if image is not None:
            _show_input(cells.pop(0), image, names[index], row)
        title = f"{names[index]}: {planes.shape[2]} × {planes.shape[1]}, {len(planes)} channels"
        cells[0].set_title(title, fontsize=8, loc="left")
        for cell, plane in zip(cells, _most_varied(planes), strict=False):
            cell.imshow(plane, cmap="cividis", interpolation="nearest")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _show_input(cell: object, image: np.ndarray, name: str, row: int) -> None:
    if row:
        return
    plane = _planes(image, f"input of {name}")
    low, high = float(plane.min()), float(plane.max())
    scaled = (plane - low) / (high - low) if high > low else np.zeros_like(plane)
    shown = scaled.transpose(1, 2, 0) if len(scaled) == 3 else scaled[0]
    cell.imshow(shown, cmap="gray", vmin=0, vmax=1)  # type: ignore[attr-defined]
    cell.set_title("input", fontsize=8, loc="left")  # type: ignore[attr-defined]


def _planes(maps: np.ndarray, name: str) -> np.ndarray:
    """``(channel, i, j[, k])`` → ``(channel, rows, columns)``, the middle slice of a volume."""
    if maps.ndim not in (3, 4):
        raise ValueError(f"stage {name}: expected (channel, i, j) or (channel, i, j, k), got shape {maps.shape}")
    plane = maps if maps.ndim == 3 else maps[..., maps.shape[3] // 2]
    return np.nan_to_num(np.asarray(plane, dtype=np.float64)).transpose(0, 2, 1)


def _most_varied(planes: np.ndarray) -> np.ndarray:
    order = np.argsort(-planes.std(axis=(1, 2)), kind="stable")
    return planes[order[:_SHOWN_CHANNELS]]
