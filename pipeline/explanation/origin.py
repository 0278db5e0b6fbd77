"""From a detection back to the place in the network's output that made it."""

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import Detector, View
from pipeline.errors import ModelError
from pipeline.explanation.scan import NetworkScan, Windows
from pipeline.geometry import Grid

# Batches of another size, or another device, move scores and edges by rounding only.
_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Origin:
    """``image`` ``(channel, i, j[, k])`` is the window of network input that the detection was found in.

    ``level`` is the number of the grid of places that it comes from and ``location`` the index there, as in
    `Detector.logits`; ``lower`` and ``upper`` ``(d,)`` are the box in voxels of the window. ``grid`` is the window's
    without what lies beyond the scan; ``start`` its first voxel on the network's grid.
    """

    image: torch.Tensor
    location: tuple[int, ...]
    lower: np.ndarray
    upper: np.ndarray
    start: tuple[int, ...]
    grid: Grid
    level: int = 0


@torch.no_grad()
def find_origin(
    network: Detector, config: ExperimentConfig, scan: NetworkScan, detections: Detections, index: int
) -> Origin:
    """The window and the output location whose box and score are those of one detection.

    Raises:
        ModelError: no location says so: the detection is of another network or another scan.
    """
    boxes = scan.boxes(detections.boxes[index : index + 1])
    lower, upper, score = boxes.lower[0], boxes.upper[0], float(detections.scores[index])
    windows = Windows.of(network, config, scan)
    best: tuple[float, int, int, tuple[int, ...]] | None = None
    for number in windows.around((lower + upper) / 2):
        mismatch, level, location = _nearest(network, windows, number, lower, upper, score)
        if best is None or mismatch < best[0]:
            best = mismatch, number, level, location
        if mismatch < 1e-3:
            break
    if best is None or best[0] > _TOLERANCE:
        raise ModelError(
            f"no place in the network's output gives detection {index + 1} of {len(detections)} (score {score:.3f}): "
            "it is of another version or another scan"
        )
    _, number, level, location = best
    first = windows.plan.starts[number]
    offset = np.array(first)
    return Origin(windows[number], location, lower - offset, upper - offset, first, windows.region(number), level)


def _nearest(
    network: Detector, windows: Windows, number: int, lower: np.ndarray, upper: np.ndarray, score: float
) -> tuple[float, int, tuple[int, ...]]:
    """The place in a window that comes nearest to a box and a score, and how far off it is: the worst of the score's
    difference and the edges' differences in output strides."""
    image = windows[number]
    output = network(image[None])
    view = View(windows.plan.starts[number], windows.grid.shape)
    stride = torch.tensor(network.stride, device=image.device)
    found = []
    for level, (logit, sides) in enumerate(zip(network.logits(output), network.boxes(output, 0, view), strict=True)):
        edges = [
            ((side - torch.as_tensor(wanted, dtype=side.dtype).to(side.device)).abs() / stride).amax(1)
            for side, wanted in zip(sides, (lower, upper), strict=True)
        ]
        off = torch.stack([*edges, (torch.sigmoid(logit[0].flatten()) - score).abs()]).amax(0)
        flat = int(off.argmin())
        found.append((float(off[flat]), level, tuple(int(n) for n in np.unravel_index(flat, logit.shape[1:]))))
    return min(found)


def voxels_within(lower: np.ndarray, upper: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The voxels of a grid of ``shape`` whose centre lies in a box ``(d,)``, along each axis at least the nearest."""
    region = []
    for low, high, size in zip(lower, upper, shape, strict=True):
        first = int(np.clip(np.ceil(low), 0, size - 1))
        region.append(slice(first, max(int(np.clip(np.floor(high) + 1, 1, size)), first + 1)))
    return tuple(region)
