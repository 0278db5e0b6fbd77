"""What a plan rests on, as one PNG: sizes, distances between neighbours, objects a scan, intensities."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.planning.intensities import Histogram
from pipeline.planning.plan import Plan
from pipeline.planning.spread import Spread

_BLUE, _ORANGE = "#0072B2", "#D55E00"


def save_picture(plan: Plan, path: Path) -> None:
    """Draw the fingerprint into ``path``; its folder is made."""
    found, objects = plan.fingerprint, plan.fingerprint.objects
    figure = Figure(figsize=(9, 5.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{plan.config.name}: {found.scans} training and validation scans", x=0.01, ha="left", fontsize=11)
    (sizes, gaps), (counts, values) = figure.subplots(2, 2)
    _percentiles(sizes, objects.extent, f"largest edge of an object ({found.unit})")
    _percentiles(gaps, objects.neighbour, f"distance to the nearest neighbour ({found.unit})")
    _percentiles(counts, objects.per_scan, "objects a scan")
    _intensities(values, found.intensity.histogram)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _percentiles(axes: Axes, spread: Spread | None, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    if spread is None:
        axes.text(0.5, 0.5, "not known", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    shares = [0, 5, 10, 25, 50, 75, 95, 99, 100]
    points = [
        *(spread.smallest, spread.p5, spread.p10, spread.p25, spread.p50),
        *(spread.p75, spread.p95, spread.p99, spread.largest),
    ]
    axes.plot(points, shares, "o-", color=_BLUE, markersize=4)
    axes.axvline(spread.p50, color=_ORANGE, linewidth=1)
    axes.set_ylabel("percentile", fontsize=8)
    axes.grid(alpha=0.3)


def _intensities(axes: Axes, histogram: Histogram) -> None:
    axes.set_title("intensity: inside objects, outside", loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.stairs(histogram.outside, histogram.edges, color=_BLUE, label="outside")
    axes.stairs(histogram.inside, histogram.edges, color=_ORANGE, label="inside")
    axes.set_ylabel("share of voxels", fontsize=8)
    axes.legend(frameon=False, fontsize=8)
