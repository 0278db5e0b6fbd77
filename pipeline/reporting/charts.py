"""Charts as inline SVG: built as element trees, so that text is always escaped; coloured by the page's style sheet.

Series differ by marker and by dash as well as by colour. Colours follow the reader's light or dark theme.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Tree

from markupsafe import Markup

from pipeline.evaluation import Curve, Estimate
from pipeline.reporting.naming import axis_name

SERIES = 6
_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 16, 14, 52
_ROW_WIDTH, _ROW_HEIGHT, _ROW_PAD = 280, 30, 10
_MOST_FROC = 2.0**20


@dataclass(frozen=True)
class Series:
    """One line: its number (colour, marker, dash), its curve, and the point of the version's threshold."""

    number: int
    name: str
    curve: Curve
    point: tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Values ``first`` … ``last`` along a stretch of pixels, in octaves if ``octaves``."""

    first: float
    last: float
    start: float
    end: float
    octaves: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; values outside lie on the edge."""
        value = min(max(value, self.first), self.last)
        if self.octaves:
            share = math.log2(value / self.first) / math.log2(self.last / self.first)
        else:
            share = (value - self.first) / (self.last - self.first)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        if self.octaves:
            low, high = round(math.log2(self.first)), round(math.log2(self.last))
            octaves = max(1, math.ceil((high - low) / 10))
            return [(2.0**power, _octave(power)) for power in range(low, high + 1, octaves)]
        step = nice_step((self.last - self.first) / 5)
        first, last = math.ceil(self.first / step - 1e-9), math.floor(self.last / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step)))
        return [(n * step, f"{n * step:.{digits}f}".replace("-", "−")) for n in range(first, last + 1)]


def nice_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, at or above ``about``."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * (1 - 1e-9))


def line_chart(
    series: Sequence[Series], title: str, *, froc: bool, diagonal: bool = False, points: bool = False
) -> Markup:
    """Curves in one frame; sensitivity over false positives in octaves and steps if ``froc``, else 0 … 1.

    ``diagonal``: what chance (ROC) or perfect calibration gives. ``points``: the curve is known at its points only.
    """
    most = max([8.0, *(x for one in series for x in one.curve.x[-1:])])
    last = min(2.0 ** math.ceil(math.log2(most)), _MOST_FROC)
    across = Axis(0.125, last, _LEFT, _WIDTH - _RIGHT, octaves=True) if froc else Axis(0, 1, _LEFT, _WIDTH - _RIGHT)
    up = Axis(0, 1, _HEIGHT - _BOTTOM, _TOP)
    root = _svg(_WIDTH, _HEIGHT, title, "chart")
    _frame(root, across, up, series[0].curve)
    if diagonal:
        path = f"M{across.start} {up.start}L{across.end} {up.end}"
        Tree.SubElement(root, "path", {"d": path, "class": "diagonal"})
    for one in series:
        _line(root, one, across, up, steps=froc)
    for one in series if points else ():
        for x, y in zip(one.curve.x, one.curve.y, strict=True):
            _marker(root, one.number, across.at(x), up.at(y), 3.5)
    for one in series:
        if not math.isnan(sum(one.point)):
            _marker(root, one.number, across.at(one.point[0]), up.at(one.point[1]), 5.5)
    return _markup(root)


def interval_cell(estimate: Estimate, number: int, axis: Axis, reference: float | None = None) -> Markup:
    """One row of a forest plot. The numbers stand beside it as text, so it is hidden from screen readers."""
    root = Tree.Element("svg", {"viewBox": f"0 0 {_ROW_WIDTH} {_ROW_HEIGHT}", "class": "row", "aria-hidden": "true"})
    _grid_lines(root, axis, _ROW_HEIGHT)
    middle = _ROW_HEIGHT / 2
    if reference is not None:
        x = str(axis.at(reference))
        Tree.SubElement(root, "line", {"x1": x, "x2": x, "y1": "0", "y2": str(_ROW_HEIGHT), "class": "reference"})
    if not math.isnan(estimate.lower + estimate.upper):
        low, high = axis.at(estimate.lower), axis.at(estimate.upper)
        path = f"M{low} {middle}H{high}M{low} {middle - 5}v10M{high} {middle - 5}v10"
        Tree.SubElement(root, "path", {"d": path, "class": f"interval s{number % SERIES}"})
    if not math.isnan(estimate.value):
        _marker(root, number, axis.at(estimate.value), middle, 5)
    return _markup(root)


def axis_cell(axis: Axis) -> Markup:
    """The numbers above the rows of a forest plot."""
    root = Tree.Element("svg", {"viewBox": f"0 0 {_ROW_WIDTH} 18", "class": "row", "aria-hidden": "true"})
    for value, text in axis.ticks():
        _text(root, text, axis.at(value), 13, "middle")
    return _markup(root)


def share_axis() -> Axis:
    return Axis(0, 1, _ROW_PAD, _ROW_WIDTH - _ROW_PAD)


def difference_axis(estimates: Sequence[Estimate]) -> Axis:
    """Symmetric about 0, so wide that every interval fits, at least ±0.02."""
    ends = [abs(end) for one in estimates for end in (one.value, one.lower, one.upper) if not math.isnan(end)]
    most = max([0.02, *ends]) * 1.08
    return Axis(-most, most, _ROW_PAD, _ROW_WIDTH - _ROW_PAD)


def marker(number: int) -> Markup:
    """A series' sign for legends and tables."""
    root = Tree.Element("svg", {"viewBox": "0 0 28 14", "class": "sign", "aria-hidden": "true"})
    Tree.SubElement(root, "path", {"d": "M1 7H27", "class": f"line s{number % SERIES}"})
    _marker(root, number, 14, 7, 5)
    return _markup(root)


def value_at(curve: Curve, x: float, *, froc: bool) -> float:
    """What a table beside the chart says: the best ``y`` up to ``x`` (FROC), or from ``x`` on (precision)."""
    within = [b for a, b in zip(curve.x, curve.y, strict=True) if (a <= x if froc else a >= x)]
    return max(within, default=0.0)


def _frame(root: Tree.Element, across: Axis, up: Axis, curve: Curve) -> None:
    for value, text in across.ticks():
        x = str(across.at(value))
        Tree.SubElement(root, "line", {"x1": x, "x2": x, "y1": str(up.start), "y2": str(up.end), "class": "grid"})
        _text(root, text, across.at(value), up.start + 18, "middle")
    for value, text in up.ticks():
        y, ends = str(up.at(value)), {"x1": str(across.start), "x2": str(across.end)}
        Tree.SubElement(root, "line", {**ends, "y1": y, "y2": y, "class": "grid"})
        _text(root, text, across.start - 8, up.at(value) + 4, "end")
    _text(root, axis_name(curve.x_name), (across.start + across.end) / 2, _HEIGHT - 10, "middle", "name")
    name = _text(root, axis_name(curve.y_name), 14, (up.start + up.end) / 2, "middle", "name")
    name.set("transform", f"rotate(-90 14 {(up.start + up.end) / 2})")


def _line(root: Tree.Element, one: Series, across: Axis, up: Axis, *, steps: bool) -> None:
    path, last = "", None
    for x, y in zip(one.curve.x, one.curve.y, strict=True):
        here = (round(across.at(x)), round(up.at(y)))  # a long curve has many points a pixel
        if here == last or math.isnan(x + y):
            continue
        if last is None:
            path = f"M{here[0]} {here[1]}"
        else:
            path += f"H{here[0]}V{here[1]}" if steps else f"L{here[0]} {here[1]}"
        last = here
    if steps and last is not None:
        path += f"H{round(across.end)}"
    Tree.SubElement(root, "path", {"d": path, "class": f"line s{one.number % SERIES}"})


def _grid_lines(root: Tree.Element, axis: Axis, height: float) -> None:
    for value, _ in axis.ticks():
        x = str(axis.at(value))
        Tree.SubElement(root, "line", {"x1": x, "x2": x, "y1": "0", "y2": str(height), "class": "grid"})


def _marker(root: Tree.Element, number: int, x: float, y: float, size: float) -> None:
    shapes = (
        f"M{x - size} {y}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 {-2 * size} 0z",
        f"M{x} {y - size * 1.3}l{size * 1.3} {size * 1.3}l{-size * 1.3} {size * 1.3}l{-size * 1.3} {-size * 1.3}z",
        f"M{x - size * 0.9} {y - size * 0.9}h{size * 1.8}v{size * 1.8}h{-size * 1.8}z",
        f"M{x} {y - size * 1.2}l{size * 1.2} {size * 2.1}h{-size * 2.4}z",
    )
    Tree.SubElement(root, "path", {"d": shapes[number % len(shapes)], "class": f"marker s{number % SERIES}"})


def _text(root: Tree.Element, text: str, x: float, y: float, anchor: str, kind: str = "tick") -> Tree.Element:
    element = Tree.SubElement(root, "text", {"x": str(x), "y": str(y), "text-anchor": anchor, "class": kind})
    element.text = text
    return element


def _svg(width: float, height: float, title: str, kind: str) -> Tree.Element:
    root = Tree.Element("svg", {"viewBox": f"0 0 {width} {height}", "class": kind, "role": "img", "aria-label": title})
    Tree.SubElement(root, "title").text = title
    return root


def _octave(power: int) -> str:
    return {-3: "⅛", -2: "¼", -1: "½"}.get(power, f"{2**power:g}" if power >= 0 else f"1/{2**-power}")


def _markup(root: Tree.Element) -> Markup:
    # Built from an element tree: every text and attribute is escaped by the serialiser.
    return Markup(Tree.tostring(root, encoding="unicode", short_empty_elements=False))
