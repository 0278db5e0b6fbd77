"""The starter models that are shipped, on scenes whose objects are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.detectors.bundle import Bundle
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector
from pipeline.starters import starter, starters


def found(name: str, image: np.ndarray, grid: Grid) -> np.ndarray:
    """Centres of the detections that the starter reports, ``(n, d)`` in voxels."""
    detector = VolumeDetector(Bundle.load(starter(name).folder), "cpu")
    detections = detector.detect(image[None], grid, "scene")
    return detections.above(detector.threshold).boxes.centres


def balls(shape: tuple[int, ...], centres: np.ndarray, radius: float, spacing: np.ndarray) -> np.ndarray:
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return np.any([(((places - c) * spacing) ** 2).sum(-1) <= radius**2 for c in centres], axis=0)


def matched(seen: np.ndarray, centres: np.ndarray, reach: float) -> None:
    """Each of ``centres`` is seen once, and nothing else."""
    apart = np.linalg.norm(seen[:, None] - centres, axis=2)
    assert len(seen) == len(centres)
    assert sorted(apart.argmin(axis=1).tolist()) == list(range(len(centres)))
    assert apart.min(axis=1).max() < reach


def test_nuclei_and_nodules_are_shipped():
    assert {one.name for one in starters()} == {"nuclei-2d", "nodules-3d"}
    for one in starters():
        assert sum(path.stat().st_size for path in one.folder.iterdir()) < 8_000_000
        assert one.card.startswith(f"# {one.spec}")


@pytest.mark.parametrize("radius", [6, 9, 14])
def test_bright_blurred_discs_are_nuclei(radius):
    centres = np.array([[30, 34], [36, 92], [88, 40], [94, 96]])
    discs = balls((128, 128), centres, radius, np.ones(2))
    noise = np.random.default_rng(0).normal(0, 2, discs.shape)
    image = np.clip(gaussian_filter(discs * 120.0, 1.5) + 12 + noise, 0, 255).round()
    matched(found("starter/nuclei-2d", image, Grid.of_pixels(discs.shape)), centres, 3.0)


def test_a_dense_ball_in_lung_is_a_nodule():
    spacing = np.array([0.7, 0.7, 1.25])
    grid = Grid((72, 72, 40), np.diag([*spacing, 1.0]))
    centre = np.array([[40.0, 33.0, 21.0]])
    ball = balls(grid.shape, centre, 6.0, spacing)
    noise = np.random.default_rng(0).normal(0, 25, grid.shape)
    image = gaussian_filter(np.where(ball, 20.0, -860.0), 0.8) + noise
    matched(found("starter/nodules-3d", image, grid), centre, 4.0)
