"""From a detection back to the place in the network's output that made it."""

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.errors import ModelError
from pipeline.explanation.scan import NetworkScan, Windows
from pipeline.geometry import Grid

# Batches of another size, or another device, move scores and edges by rounding only.
_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Origin:
    """``image`` ``(channel, i, j[, k])`` is the window of network input that the detection was found in.

    ``location`` is the index of the network's output there; ``lower`` and ``upper`` ``(d,)`` are the box in voxels of
    the window. ``grid`` is the window's without what lies beyond the scan; ``start`` its first voxel on the network's
    grid.
    """

    image: torch.Tensor
    location: tuple[int, ...]
    lower: np.ndarray
    upper: np.ndarray
    start: tuple[int, ...]
    grid: Grid


@torch.no_grad()
def find_origin(
    network: CentreBoxDetector, config: ExperimentConfig, scan: NetworkScan, detections: Detections, index: int
) -> Origin:
    """The window and the output location whose box and score are those of one detection.

    Raises:
        ModelError: no location says so: the detection is of another network or another scan.
    """
    boxes = scan.boxes(detections.boxes[index : index + 1])
    lower, upper, score = boxes.lower[0], boxes.upper[0], float(detections.scores[index])
    windows = Windows.of(network, config, scan)
    best: tuple[float, int, tuple[int, ...]] | None = None
    for number in windows.around((lower + upper) / 2):
        mismatch, location = _nearest(network, windows, number, lower, upper, score)
        if best is None or mismatch < best[0]:
            best = mismatch, number, location
        if mismatch < 1e-3:
            break
    if best is None or best[0] > _TOLERANCE:
        raise ModelError(
            f"no place in the network's output gives detection {index + 1} of {len(detections)} (score {score:.3f}): "
            "it is of another version or another scan"
        )
    _, number, location = best
    first = windows.plan.starts[number]
    offset = np.array(first)
    return Origin(windows[number], location, lower - offset, upper - offset, first, windows.region(number))


def _nearest(
    network: CentreBoxDetector, windows: Windows, number: int, lower: np.ndarray, upper: np.ndarray, score: float
) -> tuple[float, tuple[int, ...]]:
    """The location of a window that comes nearest to a box and a score, and how far off it is: the worst of the score's
    difference and the edges' differences in output strides."""
    image = windows[number]
    maps, dims = network(image[None]), network.dims
    shape = tuple(maps.score.shape[1:])
    at = torch.stack(torch.meshgrid(*network.locations(shape, image.device), indexing="ij"))
    form = (dims, *(1,) * dims)
    at = at + torch.tensor(windows.plan.starts[number], dtype=at.dtype, device=at.device).view(form)
    size = torch.tensor(windows.grid.shape, dtype=at.dtype, device=at.device)
    sides = network.shape.edges(at.flatten(1).T, maps.distances[0].flatten(1).T, size)
    stride = torch.tensor(network.stride, device=image.device).view(form)
    edges = [
        (
            (side.T.view(at.shape) - torch.as_tensor(wanted, dtype=at.dtype).to(at.device).view(form)).abs() / stride
        ).amax(0)
        for side, wanted in zip(sides, (lower, upper), strict=True)
    ]
    off = torch.stack([*edges, (torch.sigmoid(maps.score[0]) - score).abs()]).amax(0)
    flat = int(off.argmin())
    return float(off.flatten()[flat]), tuple(int(n) for n in np.unravel_index(flat, shape))


def voxels_within(lower: np.ndarray, upper: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The voxels of a grid of ``shape`` whose centre lies in a box ``(d,)``, along each axis at least the nearest."""
    region = []
    for low, high, size in zip(lower, upper, shape, strict=True):
        first = int(np.clip(np.ceil(low), 0, size - 1))
        region.append(slice(first, max(int(np.clip(np.floor(high) + 1, 1, size)), first + 1)))
    return tuple(region)
