"""The translation test as a picture."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.explanation.translation import TranslationReport

# Okabe & Ito's colours, told apart by marker too.
_AXES = (("i", "#0072B2", "o"), ("j", "#D55E00", "s"), ("k", "#009E73", "^"))
_PANELS = {
    "moved_unit": "distance moved in the scan ({unit})",
    "score_change": "change of the score",
    "lost": "share of detections lost",
    "appeared": "share that only the shifted input has",
}


def translation_png(report: TranslationReport) -> bytes:
    """Displacement, change of score, and shares lost and new over the shift of the input, a line for each axis.

    Multiples of the output's stride are marked by thin lines, and the backbone's coarsest stride by dashed ones.
    """
    figure = Figure(figsize=(12.5, 3.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    figure.suptitle(_title(report), fontsize=9.5, x=0.005, ha="left")
    cells = figure.subplots(1, len(_PANELS))
    for cell, (name, label) in zip(cells, _PANELS.items(), strict=True):
        _draw(cell, report, name)
        cell.set_title(label.format(unit=report.unit), loc="left", fontsize=9.5)
    if report.shifts:
        figure.legend(*cells[0].get_legend_handles_labels(), fontsize=8.5, frameon=False, loc="upper right", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(cell: Axes, report: TranslationReport, name: str) -> None:
    highest = 0.0
    for axis in sorted({one.axis for one in report.shifts}):
        letter, colour, marker = _AXES[axis]
        rows = [*report.curve(axis), {"shift_voxel": 0.0, name: 0.0}]
        rows.sort(key=lambda row: row["shift_voxel"])
        values = np.array([row[name] for row in rows])
        highest = max(highest, float(np.nanmax(values)))
        cell.plot(
            [row["shift_voxel"] for row in rows], values, color=colour, marker=marker, markersize=4, linewidth=1.4,
            label=f"along {letter}",
        )  # fmt: skip
    cell.set_ylim(0, max(highest * 1.2, 0.05))
    _mark_strides(cell, report)
    amounts = [0, *(one.shift_voxel for one in report.shifts)]
    cell.set_xlim(min(amounts) - 0.5, max(amounts) + 0.5)
    cell.xaxis.set_major_locator(MaxNLocator(integer=True))
    cell.set_xlabel("shift of the input (voxels of the network)", fontsize=8.5)
    cell.tick_params(labelsize=8.5)
    cell.spines[["top", "right"]].set_visible(False)


def _mark_strides(cell: Axes, report: TranslationReport) -> None:
    if not report.stride:
        return
    step, coarsest = max(report.stride), max(report.coarsest_stride)
    for at in range(-coarsest, coarsest + 1, step):
        cell.axvline(at, color="0.85", linewidth=0.8, zorder=0)
    for at in sorted({sign * stride for stride in report.coarsest_stride for sign in (-1, 1)}):
        cell.axvline(at, color="0.45", linewidth=1, linestyle="--", zorder=0)


def _title(report: TranslationReport) -> str:
    if not report.shifts:
        return "No scan is large enough to be shifted."
    strides = " × ".join(str(n) for n in report.stride)
    coarsest = " × ".join(str(n) for n in report.coarsest_stride)
    where = f"{report.detections} detections in {report.cases} scan{'' if report.cases == 1 else 's'}, means"
    lines = f"Thin lines: whole output strides ({strides}); dashed: the coarsest stride ({coarsest})."
    borders = "" if report.whole_field else "\nThe windows are so small that their borders are seen."
    return f"{where}. {lines}{borders}"
