"""What single units look for: the pieces of real scans that excite them most, and the filters of the first layer.

Zeiler and Fergus 2014 (arXiv 1311.2901) show units so. A piece is as large as the unit's convolutions see, so that
simple things (a level, an edge) come before complex ones (a nucleus, a nodule beside a vessel).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.modules.conv import _ConvNd

from pipeline.detectors.detector import Detector
from pipeline.explanation.features import choose_channels
from pipeline.explanation.receptive import receptive_fields

# Wider pieces would show a whole scan; what a deep unit uses lies near the middle of what it sees (Luo et al. 2016,
# arXiv 1701.04128).
MOST_EDGE = 96


@dataclass(frozen=True, eq=False)
class Unit:
    """``channel`` of a stage. ``pieces`` are network input ``(channel, i, j)``, the most exciting first, of volumes the
    slice through the middle; ``activations`` are the unit's there. Beyond the border of a scan its edge is repeated."""

    channel: int
    pieces: tuple[np.ndarray, ...]
    activations: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class StageUnits:
    """``number`` of the stage, 0 = finest. ``edge``: voxels of a piece along ``(i, j)``."""

    number: int
    stride: tuple[int, ...]
    receptive_field: tuple[int, ...]
    edge: tuple[int, int]
    units: tuple[Unit, ...]


@torch.no_grad()
def exciting_pieces(
    network: Detector, windows: Sequence[torch.Tensor], stages: Sequence[int], units: int = 4, pieces: int = 5
) -> tuple[StageUnits, ...]:
    """The pieces of several windows that excite units most.

    Units are those that vary most over the windows, none like another (see `choose_channels`). A unit's pieces lie at
    least half a piece apart, and are no more than two of one window while others have some.

    Args:
        network: in evaluation form.
        windows: network input ``(channel, i, j[, k])``.
        stages: numbers of the backbone's stages.
        units: how many of each stage.
        pieces: how many of each unit.
    """
    fields, strides = receptive_fields(network), network.backbone.strides
    features = [[stage[0].float().cpu().numpy() for stage in network.features(window[None])] for window in windows]
    inputs = [window.float().cpu().numpy() for window in windows]
    found = []
    for number in stages:
        maps = [one[number] for one in features]
        flat = np.concatenate([one.reshape(len(one), -1) for one in maps], axis=1)
        edge = _edge(fields[number])
        chosen = choose_channels(flat, units)
        told = [_unit(int(channel), [one[channel] for one in maps], inputs, strides[number], edge, pieces)
                for channel in chosen]  # fmt: skip
        found.append(StageUnits(number, strides[number], fields[number], edge, tuple(told)))
    return tuple(found)


def first_filters(network: Detector, most: int = 16) -> np.ndarray | None:
    """Weights ``(filter, channel, i, j)`` of the first convolution that is wider than a voxel, of a volume the middle
    slice; those that vary most. ``None`` where its input is neither grey nor RGB."""
    for module in network.modules():
        if isinstance(module, _ConvNd) and max(module.kernel_size) > 1:
            weights = module.weight.detach().float().cpu().numpy()
            plane = weights if weights.ndim == 4 else weights[..., weights.shape[4] // 2]
            return plane[choose_channels(plane, most)] if plane.shape[1] in (1, 3) else None
    return None


def _edge(field: tuple[int, ...]) -> tuple[int, int]:
    return min(field[0], MOST_EDGE), min(field[1], MOST_EDGE)


def _unit(
    channel: int, maps: list[np.ndarray], inputs: list[np.ndarray], stride: tuple[int, ...], edge: tuple[int, int],
    pieces: int,
) -> Unit:  # fmt: skip
    peaks = [
        (value, number, cell)
        for number, one in enumerate(maps)
        for value, cell in _peaks(_within(one, stride, edge), stride, edge, pieces)
    ]
    peaks.sort(key=lambda peak: -peak[0])
    turns: dict[int, int] = {}
    ordered = []
    for value, number, cell in peaks:
        turns[number] = turns.get(number, 0) + 1
        ordered.append((turns[number] > 2, -value, number, cell))
    best = sorted(sorted(ordered, key=lambda peak: peak[:2])[:pieces], key=lambda peak: peak[1])
    return Unit(
        channel,
        tuple(_piece(inputs[number], cell, stride, edge) for _, _, number, cell in best),
        tuple(float(-value) for _, value, _, _ in best),
    )


def _within(values: np.ndarray, stride: tuple[int, ...], edge: tuple[int, int]) -> np.ndarray:
    """Minus infinity where a piece would reach beyond the border, which excites by its padding; all of a map ``(i, j[,
    k])`` that has no other place."""
    inner = np.full(values.shape, -np.inf)
    margin = [int(np.ceil(edge[axis] / 2 / stride[axis])) for axis in (0, 1)]
    region = tuple(slice(margin[axis], values.shape[axis] - margin[axis]) for axis in (0, 1))
    inner[region] = values[region]
    return inner if inner[region].size else values


def _peaks(
    values: np.ndarray, stride: tuple[int, ...], edge: tuple[int, int], count: int
) -> list[tuple[float, tuple[int, ...]]]:
    """The greatest values of one map ``(i, j[, k])``, each at least half a piece from those before, along i or j."""
    left = values.astype(np.float64).copy()
    found: list[tuple[float, tuple[int, ...]]] = []
    while len(found) < count and np.isfinite(left.max()):
        cell = tuple(int(n) for n in np.unravel_index(int(left.argmax()), left.shape))
        found.append((float(left[cell]), cell))
        near = [max(1, round(edge[axis] / 2 / stride[axis])) for axis in (0, 1)]
        left[tuple(slice(max(cell[axis] - near[axis], 0), cell[axis] + near[axis] + 1) for axis in (0, 1))] = -np.inf
    return found


def _piece(image: np.ndarray, cell: tuple[int, ...], stride: tuple[int, ...], edge: tuple[int, int]) -> np.ndarray:
    """``(channel, *edge)`` about the middle of what a cell sees."""
    plane = image
    if image.ndim == 4:
        middle = int(min(cell[2] * stride[2] + (stride[2] - 1) / 2, image.shape[3] - 1))
        plane = image[..., middle]
    for axis in (0, 1):
        first = round(cell[axis] * stride[axis] + (stride[axis] - 1) / 2 - (edge[axis] - 1) / 2)
        taken = np.clip(np.arange(first, first + edge[axis]), 0, plane.shape[axis + 1] - 1)
        plane = np.take(plane, taken, axis=axis + 1)
    return plane
