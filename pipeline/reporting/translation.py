"""The translation test as a picture."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.explanation.translation import TranslationReport

_BLUE = "#0072B2"


def translation_png(report: TranslationReport) -> bytes:
    """Displacement, change of score and share of lost detections over the shift of the input, side by side."""
    rows = report.curve()
    names = {
        "moved_unit": f"mean displacement ({report.unit})",
        "score_change": "mean change of the score",
        "lost": "share of detections lost",
    }
    figure = Figure(figsize=(10.5, 2.9), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    shifts = [0, *(row["shift_voxel"] for row in rows)]
    for axes, (name, label) in zip(figure.subplots(1, 3), names.items(), strict=True):
        values = np.array([0.0, *(row[name] for row in rows)])
        axes.plot(shifts, values, "o-", color=_BLUE, linewidth=2, markersize=5)
        axes.set_ylim(0, max(float(np.nanmax(values)) * 1.15, 0.05))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("shift of the input (voxels of the network)")
        axes.set_title(label, loc="left", fontsize=10)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
