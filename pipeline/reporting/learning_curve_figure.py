"""A transfer curve as one picture: quality over the share of data, and validation over the steps."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from pipeline.evaluation.crossing import Crossing
from pipeline.evaluation.learning_curve import SCRATCH, TRANSFERRED, WAYS, LearningCurve, Point, Validated
from pipeline.reporting.drawing import BLUE, GREY, ORANGE, blank, plain, png, without_frame
from pipeline.reporting.naming import counted, metric_name

_COLOURS = {SCRATCH: ORANGE, TRANSFERRED: BLUE}
_MARKS = {SCRATCH: "s", TRANSFERRED: "o"}


def learning_curve_png(name: str, source: str, curve: LearningCurve, sizes: Sequence[Mapping[str, float]]) -> bytes:
    """Both panels.

    Args:
        name: of the experiment.
        source: what the transferred detectors started from.
        curve: what to draw.
        sizes: ``patients cases objects`` of each share, the smallest first.
    """
    figure = blank(11, 4.6)
    data, steps = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_data(data, curve, sizes, source)
    _draw_steps(steps, curve)
    counts = curve.counts
    figure.suptitle(
        plain(
            f"{name}: {counts['cases']} test cases of {counts['patients']} patients, {counts['objects']} objects; "
            f"{counted(len(curve.seeds), 'seed')}; bands: {curve.confidence:.0%} intervals by {curve.drawn}"
        ),
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return png(figure)


def _draw_data(axes: Axes, curve: LearningCurve, sizes: Sequence[Mapping[str, float]], source: str) -> None:
    for way in WAYS:
        label = "from scratch" if way == SCRATCH else f"transferred from {source}"
        _line(axes, curve.curves[way], _COLOURS[way], _MARKS[way], plain(label))
    reference = curve.reference.value
    if not math.isnan(reference):
        axes.axhline(reference, color=ORANGE, linestyle="--", linewidth=1)
    _mark(axes, curve.needed_data.share, reference)
    axes.set_xscale("log")
    told = [_told(share, size) for share, size in zip(curve.shares, sizes, strict=True)]
    axes.set_xticks(curve.shares, told, fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(plain(f"share of the training patients\n{_met(curve.needed_data)}"), fontsize=9)
    axes.set_ylabel(f"{plain(metric_name(curve.primary))} on test data", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _finish(axes)


def _line(axes: Axes, points: Sequence[Point], colour: str, mark: str, label: str) -> None:
    shares = [point.share for point in points]
    axes.plot(shares, [point.figure.value for point in points], color=colour, marker=mark, linewidth=2, label=label)
    axes.fill_between(
        shares,
        [point.figure.lower for point in points],
        [point.figure.upper for point in points],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
    for point in points:
        axes.plot([point.share] * len(point.each), point.each, mark, color=colour, markersize=3, alpha=0.6)


def _draw_steps(axes: Axes, curve: LearningCurve) -> None:
    for way in WAYS:
        _validations(axes, curve.validated[way], _COLOURS[way])
    if curve.validated[SCRATCH].steps:
        target = float(curve.validated[SCRATCH].kept.mean(axis=0)[-1])
        axes.axhline(target, color=ORANGE, linestyle="--", linewidth=1)
        _mark(axes, curve.needed_steps.share * curve.steps, target)
    axes.set_xlim(0, curve.steps)
    axes.set_title("thin: each seed; thick: the detectors kept so far, their mean", loc="right", fontsize=8)
    axes.set_xlabel(plain(f"training steps with all data\n{_met(curve.needed_steps)}"), fontsize=9)
    axes.set_ylabel(f"{plain(metric_name(curve.primary))} on validation data", fontsize=9)
    _finish(axes)


def _validations(axes: Axes, validated: Validated, colour: str) -> None:
    """Thin: each seed's validations; thick: the mean of the detectors kept so far."""
    for row in validated.each:
        axes.plot(validated.steps, row, color=colour, marker=".", linewidth=0.8, alpha=0.5)
    if validated.steps:
        axes.plot(validated.steps, validated.kept.mean(axis=0), color=colour, linewidth=2, drawstyle="steps-post")


def _mark(axes: Axes, place: float, height: float) -> None:
    """Where the dashed line is reached."""
    if math.isfinite(place) and not math.isnan(height):
        axes.axvline(place, color=GREY, linestyle=":", linewidth=1)
        axes.plot(place, height, "D", markerfacecolor="white", markeredgecolor=BLUE, markersize=8, zorder=5)


def _met(needed: Crossing) -> str:
    return f"dashed line met: {needed}"


def _told(share: float, size: Mapping[str, float]) -> str:
    return (
        f"{100 * share:.3g}%\n{size['patients']:.0f} patients\n{size['cases']:.0f} cases\n{size['objects']:.0f} objects"
    )


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    without_frame(axes)
