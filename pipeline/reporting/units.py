"""What single units look for, from the first layer's filters to the last stage, as one picture."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from pipeline.explanation.features import field_caption
from pipeline.explanation.units import StageUnits
from pipeline.geometry import Grid
from pipeline.reporting.display import flips

_WORDS = ("First stage", "Middle stage", "Last stage")


def units_png(stages: Sequence[StageUnits], filters: np.ndarray | None, grid: Grid) -> bytes:
    """A block a stage, a row a unit: the pieces of the test scans that excite it most, the strongest first.

    Args:
        stages: from `exciting_pieces`, one to three, finest first.
        filters: of the first layer, from `first_filters`; shown in a row above.
        grid: the network's, for lengths; slices of volumes are shown as radiologists see them.
    """
    rows = max(len(stage.units) for stage in stages)
    top = 1.0 if filters is not None else 0.0
    height = 0.5 + 0.95 * rows + top
    figure = Figure(figsize=(4.6 * len(stages), height), dpi=110)
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    parts = figure.subfigures(2 if top else 1, 1, height_ratios=[top, height - top] if top else None, squeeze=False)
    if filters is not None:
        _draw_filters(parts[0, 0], filters, flips(grid))
    blocks = parts[-1, 0].subfigures(1, len(stages), squeeze=False)[0]
    words = _WORDS if len(stages) == 3 else (_WORDS[0], _WORDS[-1])
    for block, word, stage in zip(blocks, words, stages, strict=False):
        _draw_stage(block, word, stage, grid, rows)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_filters(part: SubFigure, filters: np.ndarray, turned: tuple[bool, bool]) -> None:
    part.text(0.008, 0.93, _filters_title(filters), fontsize=9, va="top")
    cells = part.subplots(1, 16, gridspec_kw={"left": 0.008, "right": 0.99, "top": 0.72, "bottom": 0.14, "wspace": 0.2})
    for cell in cells:
        cell.set_axis_off()
    for cell, one in zip(cells, filters, strict=False):
        strongest = float(np.abs(one).max()) or 1.0
        _show(cell, one / strongest, turned)


def _filters_title(filters: np.ndarray) -> str:
    size = " × ".join(str(n) for n in filters.shape[2:])
    colour = (
        "weights of red, green and blue as colours" if filters.shape[1] == 3 else "white: positive, black: negative"
    )
    return f"Filters of the first layer, {size} ({colour}, grey: 0)"


def _draw_stage(block: SubFigure, word: str, stage: StageUnits, grid: Grid, rows: int) -> None:
    caption = field_caption(stage.stride, stage.receptive_field, tuple(grid.spacing.tolist()), grid.unit)
    sees, _, lengths = caption.partition(" (")
    size = " × ".join(str(n) for n in stage.edge)
    lines = [f"{word}: {sees}", f"({lengths}; pieces {size}" if lengths else f"pieces of {size}"]
    block.text(0.02, 0.985, "\n".join(lines), fontsize=8, va="top")
    columns = max((len(unit.pieces) for unit in stage.units), default=1)
    spaces = {"left": 0.11, "right": 0.98, "top": 1 - 0.42 / (0.5 + 0.95 * rows), "bottom": 0.02,
              "wspace": 0.06, "hspace": 0.06}  # fmt: skip
    cells = block.subplots(rows, columns, squeeze=False, gridspec_kw=spaces)
    for row in range(rows):
        for cell in cells[row]:
            cell.set_axis_off()
        if row >= len(stage.units):
            continue
        unit = stage.units[row]
        cells[row, 0].text(-0.08, 0.5, f"channel\n{unit.channel}", fontsize=6.5, ha="right", va="center",
                           transform=cells[row, 0].transAxes)  # fmt: skip
        for cell, piece in zip(cells[row], unit.pieces, strict=False):
            _show(cell, piece, flips(grid))


def _show(cell: Axes, plane: np.ndarray, turned: tuple[bool, bool]) -> None:
    """``(channel, i, j)`` of values from -1 to 1."""
    steps = [slice(None, None, -1 if backwards else 1) for backwards in turned]
    picture = np.clip((plane[:, steps[0], steps[1]] + 1) / 2, 0, 1).transpose(2, 1, 0)
    shown = picture if picture.shape[2] == 3 else picture[..., 0]
    cell.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
