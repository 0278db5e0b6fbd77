"""Annotated scans whose sizes, spacings and intensities are known by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.geometry import Boxes, Grid
from pipeline.planning.device import Device
from pipeline.volumes import Annotations, Volume
from tests.phantoms import volume_with

GIB = 2**30
TWO_CORES = Device("cpu", 16 * GIB, 2)
LARGE_GPU = Device("cuda", 80 * GIB, 8, bf16=True)


def field(folder: Path, n: int, size: int = 10, step: int = 20, channels: int = 1, edge: int = 100) -> Volume:
    """``edge`` px square, of 50 with squares of 200; ``size`` px wide, their centres ``step`` apart along both axes."""
    starts = range(step // 2 - size // 2, edge - size, step)
    image = np.full((channels, edge, edge), 50, dtype=np.uint8)
    image[0] += n % 5  # scans differ, or they would be one
    lower = np.array([(i, j) for i in starts for j in starts], dtype=float)
    for i, j in lower.astype(int):
        image[:, i : i + size, j : j + size] = 200
    grid = Grid.of_pixels((edge, edge))
    boxes = Boxes(lower - 0.5, lower + size - 0.5, grid)
    return replace(volume_with(folder, image, grid, boxes, ("cell",) * len(lower), f"p{n}"), modality="OT")


def scan(
    folder: Path,
    n: int,
    spacing: tuple[float, ...] = (1.0, 1.0, 2.0),
    shape: tuple[int, ...] = (40, 40, 16),
    modality: str = "CT",
    sizes: tuple[int, ...] = (8, 8, 4),
    at: tuple[tuple[int, ...], ...] = ((4, 4, 2), (24, 24, 8)),
) -> Volume:
    """Air of -1000 with bodies of 40, ``sizes`` voxels large from the voxels ``at``."""
    image = np.full((1, *shape), -1000, dtype=np.int16)
    image[0, 0, 0, 0] += n
    lower = np.array(at, dtype=float).reshape(-1, 3)
    for start in lower.astype(int):
        image[(0, *(slice(a, a + b) for a, b in zip(start, sizes, strict=True)))] = 40
    grid = Grid(shape, np.diag([*spacing, 1.0]))
    boxes = Boxes(lower - 0.5, lower + np.array(sizes) - 0.5, grid)
    return replace(volume_with(folder, image, grid, boxes, patient=f"p{n}"), modality=modality)


def pointed(volume: Volume, nominal: float = 12.0) -> Volume:
    """The same scan, annotated by its objects' centres alone."""
    assert volume.annotations is not None
    given = volume.annotations
    boxes = Boxes.around(given.boxes.centres, np.full_like(given.boxes.centres, nominal), volume.grid)
    return replace(volume, annotations=Annotations(boxes, given.labels, given.ignore, from_points=True))


def unannotated(volume: Volume) -> Volume:
    return replace(volume, annotations=None)
