"""An image too large for the network → windows, each of which owns the objects whose centre its core holds."""

import itertools
from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.config.experiment import ExperimentConfig


@dataclass(frozen=True)
class WindowPlan:
    """Windows of one size over an image padded to ``padded``.

    ``starts`` are the first voxels of each window; ``cores`` ``(lower, upper)`` the voxels it answers for. Cores
    tile the image: along each axis they meet halfway through the overlap of neighbouring windows.
    """

    size: tuple[int, ...]
    padded: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    cores: tuple[tuple[tuple[float, float], ...], ...]


def windows_of(config: ExperimentConfig, shape: tuple[int, ...], multiple: tuple[int, ...]) -> WindowPlan:
    """The windows of an image of ``shape``, as the experiment says; ``multiple`` as for `plan_windows`.

    An image smaller than a training patch is padded to one, as training pads it: the norms of a network know no
    other size. Lung nodules in crops of about 30 x 30 x 6 voxels (LIDC, validation) were found with a CPM of 0.964 as
    they are, and of 0.999 padded to the patch of 48 x 48 x 16.
    """
    inference = config.inference
    least = tuple(map(min, config.sampling.patch, inference.window))
    return plan_windows(shape, inference.window, inference.overlap, multiple, least)


def plan_windows(
    shape: tuple[int, ...],
    window: tuple[int, ...],
    overlap: float,
    multiple: tuple[int, ...],
    least: tuple[int, ...] | None = None,
) -> WindowPlan:
    """Cover ``shape`` with windows of at most ``window`` voxels.

    Args:
        shape: voxels of the image.
        window: largest window; a smaller image gets one window of its own size, or of ``least``.
        overlap: share of a window that its neighbour sees too, at least.
        multiple: window edges and starts are multiples of this (the network's coarsest stride).
        least: smallest window; `None`: any.
    """
    long = map(max, shape, least or shape)
    axes = [_axis(n, w, overlap, m) for n, w, m in zip(long, window, multiple, strict=True)]
    starts = tuple(itertools.product(*(axis.starts for axis in axes)))
    cores = tuple(itertools.product(*(axis.cores for axis in axes)))
    return WindowPlan(tuple(a.size for a in axes), tuple(a.padded for a in axes), starts, cores)


@dataclass(frozen=True)
class _Axis:
    size: int
    padded: int
    starts: tuple[int, ...]
    cores: tuple[tuple[float, float], ...]


def _axis(voxels: int, window: int, overlap: float, multiple: int) -> _Axis:
    padded = _up(voxels, multiple)
    size = min(_up(window, multiple), padded)
    step = max(int(size * (1 - overlap)) // multiple * multiple, multiple)
    count = 1 if padded == size else -(-(padded - size) // step) + 1
    starts = tuple(min(n * step, padded - size) for n in range(count))
    middles = [(second + first + size) / 2 for first, second in itertools.pairwise(starts)]
    edges = [-float("inf"), *middles, float("inf")]
    return _Axis(size, padded, starts, tuple(itertools.pairwise(edges)))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def pad_to(image: torch.Tensor, padded: tuple[int, ...]) -> torch.Tensor:
    """Repeat the far border of ``(channel, i, j[, k])`` until it has ``padded`` voxels, as training patches do."""
    extra = [p - n for p, n in zip(padded, image.shape[1:], strict=True)]
    if not any(extra):
        return image
    pads = [amount for n in reversed(extra) for amount in (0, n)]
    return functional.pad(image[None], pads, mode="replicate")[0]
