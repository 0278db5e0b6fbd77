"""What the stages of the backbone respond to in one window, from simple and fine to complex and coarse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import Detector
from pipeline.explanation.receptive import receptive_fields
from pipeline.explanation.scan import NetworkScan, Windows
from pipeline.geometry import Grid

# Two channels that correlate more show the same; the second is left out.
_ALIKE = 0.9
# Of a larger window nothing could be told in a small picture.
MOST_EDGE = 192


@dataclass(frozen=True, eq=False)
class Stage:
    """``maps`` float32 ``(channel, i, j)`` of one resolution; of a volume the slice through the point asked for.

    ``stride``: voxels of the network's input a cell, ``receptive_field``: voxels that the convolutions see, per axis.
    ``spacing`` of these voxels in ``unit``, mm or px.
    """

    maps: np.ndarray
    stride: tuple[int, ...]
    receptive_field: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str

    @property
    def caption(self) -> str:
        return field_caption(self.stride, self.receptive_field, self.spacing, self.unit)


@dataclass(frozen=True, eq=False)
class SeenWindow:
    """``image`` ``(channel, i, j)``: the network's input, of a volume the slice shown; all stages, finest first.

    Of a window that is wider than 192 voxels the part about the point asked for. ``grid`` is what is shown of the scan,
    along ``k`` the whole window's.
    """

    image: np.ndarray
    grid: Grid
    stages: tuple[Stage, ...]


@torch.no_grad()
def seen_window(network: Detector, config: ExperimentConfig, scan: NetworkScan, point: Sequence[float]) -> SeenWindow:
    """The features of the window that sees a point best.

    Args:
        network: in evaluation form.
        config: its experiment.
        scan: prepared.
        point: voxel index on the network's grid; a volume is cut at its ``k``.
    """
    windows = Windows.of(network, config, scan)
    number = (windows.around(point) or [0])[0]
    window = windows[number]
    inside = np.array(point, dtype=float) - windows.plan.starts[number]
    fields = receptive_fields(network)
    shown = _about(inside, tuple(window.shape[1:]), network.coarsest_stride)
    stages = [
        Stage(
            _cut(_plane(maps[0], inside, stride), shown, stride),
            stride,
            field,
            tuple(scan.grid.spacing.tolist()),
            scan.grid.unit,
        )
        for maps, stride, field in zip(network.features(window[None]), network.backbone.strides, fields, strict=True)
    ]
    whole = windows.region(number)
    lower = (*(part.start for part in shown), *(0,) * (network.dims - 2))
    upper = (*(min(part.stop, n) for part, n in zip(shown, whole.shape, strict=False)), *whole.shape[2:])
    one = (1,) * network.dims
    return SeenWindow(_cut(_plane(window, inside, one), shown, one), whole.crop(lower, upper), tuple(stages))


def _about(inside: np.ndarray, shape: tuple[int, ...], coarsest: tuple[int, ...]) -> tuple[slice, slice]:
    """What is shown along ``i`` and ``j``: whole cells of every stage."""
    parts = []
    for middle, size, stride in zip(inside[:2], shape[:2], coarsest[:2], strict=True):
        edge = min(size, max(MOST_EDGE // stride, 1) * stride)
        first = int(np.clip(round((middle - edge / 2) / stride) * stride, 0, size - edge))
        parts.append(slice(first, first + edge))
    return parts[0], parts[1]


def _cut(maps: np.ndarray, shown: tuple[slice, slice], stride: tuple[int, ...]) -> np.ndarray:
    return maps[
        (slice(None), *(slice(part.start // s, part.stop // s) for part, s in zip(shown, stride, strict=False)))
    ]


def _plane(maps: torch.Tensor, inside: np.ndarray, stride: tuple[int, ...]) -> np.ndarray:
    """``(channel, i, j[, k])`` → ``(channel, i, j)``: the cell along ``k`` that holds the point."""
    values = maps.float().cpu().numpy()
    if values.ndim == 3:
        return values
    cell = int(np.clip((inside[2] + 0.5) // stride[2], 0, values.shape[3] - 1))
    return values[..., cell]


def choose_channels(maps: np.ndarray, count: int) -> np.ndarray:
    """Indices of the channels worth showing: those that vary most over the picture, none twice.

    Of channels that correlate above 0.9 (in either sign) the one that varies most is taken; the others, and channels
    that do not vary at all, come only where too few are left.

    Args:
        maps: ``(channel, i, j[, k])``.
        count: how many at most.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(flat, axis=1)
    unit = flat / np.where(spread > 0, spread, 1.0)[:, None]
    order = np.argsort(-spread, kind="stable")
    chosen: list[int] = []
    for index in order:
        if len(chosen) < count and spread[index] > 0 and not (np.abs(unit[chosen] @ unit[index]) > _ALIKE).any():
            chosen.append(int(index))
    rest = [int(index) for index in order if int(index) not in chosen]
    return np.array((chosen + rest)[:count], dtype=np.int64)


def field_caption(stride: tuple[int, ...], field: tuple[int, ...], spacing: tuple[float, ...], unit: str) -> str:
    """How far apart cells lie and how far one sees, in voxels and, where the scan has one, in its unit of length."""
    voxels = f"stride {_times(stride)}, receptive field {_times(field)} {'pixels' if len(stride) == 2 else 'voxels'}"
    if unit == "px":
        return voxels
    return f"{voxels} ({_times(_lengths(stride, spacing))} and {_times(_lengths(field, spacing))} {unit})"


def _lengths(numbers: tuple[int, ...], spacing: tuple[float, ...]) -> list[str]:
    return [f"{n * step:.3g}" for n, step in zip(numbers, spacing, strict=True)]


def _times(numbers: Sequence[object]) -> str:
    return " × ".join(str(n) for n in numbers)
