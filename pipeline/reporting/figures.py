"""The figures of one evaluation as PNG files, for the tracking page."""

import math
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.evaluation import Curve, Evaluation
from pipeline.reporting.drawing import BLUE, ORANGE, blank, plain
from pipeline.reporting.naming import interval, is_share, metric_name, number


def save_figures(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write ``metrics.png`` and one PNG a curve (``froc precision_recall calibration roc_scan …``) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "metrics.png"]
    _metrics(evaluation).savefig(paths[0])
    for name, curve in evaluation.curves.items():
        path = folder / f"{name}.png"
        _curve(name, curve, evaluation).savefig(path)
        paths.append(path)
    return paths


def _metrics(evaluation: Evaluation) -> Figure:
    """Values with intervals, one row a metric."""
    shares = [(name, one) for name, one in evaluation.metrics.items() if is_share(name) and not math.isnan(one.value)]
    figure = blank(7.5, 1.2 + 0.34 * max(len(shares), 1))
    axes = figure.subplots()
    for row, (_, one) in enumerate(shares):
        if not math.isnan(one.lower):
            axes.plot([one.lower, one.upper], [row, row], color=BLUE, linewidth=2)
        axes.plot(one.value, row, "o", color=BLUE, markersize=6)
        axes.text(1.02, row, f"{number(one.value)} {interval(one.lower, one.upper)}", va="center", fontsize=8)
    axes.set_yticks(range(len(shares)), [plain(metric_name(name)) for name, _ in shares])
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(
        f"{plain(evaluation.version)}: {evaluation.counts['cases']} cases, "
        f"{evaluation.confidence:.0%} intervals by patient",
        loc="left",
        fontsize=10,
    )
    return figure


def _curve(name: str, curve: Curve, evaluation: Evaluation) -> Figure:
    figure = blank(6, 4.4)
    axes = figure.subplots()
    froc = name == "froc"
    if froc:
        axes.set_xscale("log", base=2)
        last = max([8.0, *curve.x])
        axes.set_xlim(0.125, last)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        points = [(max(x, 2**-6), y) for x, y in zip(curve.x, curve.y, strict=True)]
    else:
        axes.set_xlim(0, 1)
        points = list(zip(curve.x, curve.y, strict=True))
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=BLUE,
        linewidth=2,
        drawstyle="steps-post" if froc else "default",
        marker="o" if name == "calibration" else None,
        markersize=4,
    )
    if name in ("calibration", "roc_scan", "roc_grade"):
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle=":")
    x, y = operating_point(name, evaluation)
    if not math.isnan(x + y):
        label = f"threshold {evaluation.threshold:.2f}"
        axes.plot(max(x, 0.125) if froc else x, y, "D", color=ORANGE, markersize=8, label=label, clip_on=False)
        axes.legend(loc="lower right" if froc else "lower left", frameon=False)
    axes.set_ylim(0, 1)
    axes.set_xlabel(plain(curve.x_name))
    axes.set_ylabel(plain(curve.y_name))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(plain(evaluation.version), loc="left", fontsize=10)
    return figure


def operating_point(curve: str, evaluation: Evaluation) -> tuple[float, float]:
    """Where the version's threshold lies on a curve; NaN where it lies on none."""
    counts = evaluation.counts
    recall = counts["hits"] / counts["objects"] if counts["objects"] else math.nan
    if curve == "froc":
        return (counts["false_positives"] / counts["cases"] if counts["cases"] else math.nan), recall
    if curve == "precision_recall":
        reported = counts["hits"] + counts["false_positives"]
        return recall, (counts["hits"] / reported if reported else math.nan)
    return math.nan, math.nan
