"""What all pictures for the tracking page share: an empty figure, its colours, and the way to PNG."""

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.5"


def blank(width: float, height: float) -> Figure:
    """An empty figure in inches. It is no part of matplotlib's global state, so it works in threads and tasks."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    return figure


def without_frame(axes: Axes, sides: tuple[str, ...] = ("top", "right")) -> None:
    axes.spines[list(sides)].set_visible(False)


def plain(text: str) -> str:
    """Text without matplotlib's mathematics."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
