"""What the stages of the backbone respond to in one window, from simple and fine to complex and coarse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.explanation.receptive import receptive_fields
from pipeline.explanation.scan import NetworkScan, Windows
from pipeline.geometry import Grid

# Two channels that correlate more show the same; the second is left out.
_ALIKE = 0.9


@dataclass(frozen=True, eq=False)
class Stage:
    """``maps`` float32 ``(channel, i, j)`` of one resolution; of a volume the slice through the point asked for.

    ``stride``: voxels of the network's input a cell, ``receptive_field``: voxels that the convolutions see, per axis.
    """

    maps: np.ndarray
    stride: tuple[int, ...]
    receptive_field: tuple[int, ...]

    @property
    def caption(self) -> str:
        unit = "pixels" if len(self.stride) == 2 else "voxels"
        return f"stride {_times(self.stride)}, receptive field {_times(self.receptive_field)} {unit}"


@dataclass(frozen=True, eq=False)
class SeenWindow:
    """``image`` ``(channel, i, j)``: the network's input, of a volume the slice shown; all stages, finest first.

    ``grid`` is the window's.
    """

    image: np.ndarray
    grid: Grid
    stages: tuple[Stage, ...]


@torch.no_grad()
def seen_window(
    network: CentreBoxDetector, config: ExperimentConfig, scan: NetworkScan, point: Sequence[float]
) -> SeenWindow:
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
    stages = [
        Stage(_plane(maps[0], inside, stride), stride, field)
        for maps, stride, field in zip(network.features(window[None]), network.backbone.strides, fields, strict=True)
    ]
    return SeenWindow(_plane(window, inside, (1,) * network.dims), windows.region(number), tuple(stages))


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


def _times(numbers: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in numbers)
