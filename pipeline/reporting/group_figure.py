"""Folds and seeds as one picture: a dot a version, and the pooled figure with its interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation import Estimate
from pipeline.reporting.drawing import BLUE, ORANGE, blank, plain, png, without_frame
from pipeline.reporting.naming import interval, is_share, metric_name, number

_ROW = 0.36


def group_png(title: str, pooled: Mapping[str, Estimate], children: Sequence[Mapping[str, Any]]) -> bytes:
    """One row a metric between 0 and 1: ``pooled`` as a diamond on its interval, each of ``children`` as a dot."""
    names = [name for name, one in pooled.items() if is_share(name) and not math.isnan(one.value)]
    figure = blank(9, 1.6 + _ROW * max(len(names), 1))
    axes = figure.subplots()
    for place, name in enumerate(names):
        one = pooled[name]
        axes.plot([one.lower, one.upper], [place, place], color=BLUE, linewidth=3, alpha=0.6)
        own = [child[name] for child in children if name in child]
        axes.plot(
            own, [place] * len(own), "o", markerfacecolor="none", markeredgecolor=ORANGE, markersize=6, clip_on=False
        )
        axes.plot(one.value, place, "D", color=BLUE, markersize=6, clip_on=False)
        told = f"{number(one.value)} {interval(one.lower, one.upper)}"
        axes.annotate(told, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [plain(metric_name(name)) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("blue: pooled over all, with its interval by patient; orange: each version on its own", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    without_frame(axes, ("top", "right", "left"))
    axes.set_title(plain(title), loc="left", fontsize=10)
    return png(figure)
