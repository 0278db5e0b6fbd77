"""MR-like volumes: a head in a FLAIR-like contrast with bright lesions in the white matter."""

import numpy as np

from pipeline.sample.blobs import Blob
from pipeline.sample.lattice import Lattice, filled
from pipeline.sample.noise import smooth_noise
from pipeline.sample.phantom import Phantom
from pipeline.sample.vessels import passing_tube

SMALLEST_MM, LARGEST_MM = 4.0, 20.0
_BONE, _FLUID, _WHITE, _GREY, _SCALP, _LESION = 45.0, 110.0, 380.0, 470.0, 620.0, 640.0
_EDGE_MM = 1.2


def draw_mr(rng: np.random.Generator, lattice: Lattice, count: int) -> Phantom:
    """An MR-like volume, int16 without a unit, with ``count`` lesions and their label map."""
    depth = _head_depth(rng, lattice)
    signal = _brain(rng, lattice, depth)
    ventricles = _ventricle_distance(rng, lattice)
    signal += filled(ventricles, _EDGE_MM) * filled(20 - depth, _EDGE_MM) * (_FLUID - signal)
    _add_bright_vessels(rng, lattice, signal, depth)
    white = (depth > 24) & (ventricles > 3)
    lesions = _place(rng, lattice, white, count)
    labels = np.zeros(lattice.fine_shape, dtype=np.uint16)
    for number, lesion in enumerate(lesions, start=1):
        lower, upper = lesion.extent()
        window = lattice.window(lower - _EDGE_MM, upper + _EDGE_MM)
        share = filled(lesion.signed_distance(lattice.points(window)), _EDGE_MM).reshape(labels[window].shape)
        signal[window] += share * rng.uniform(0.65, 1.0) * np.clip(_LESION - signal[window], 0, None)
        labels[window][share >= 0.5] = number
    coil = np.exp(0.22 * smooth_noise(rng, lattice.fine_shape, tuple(40.0 / lattice.spacing)))
    voxels = lattice.scan(signal * coil, blur_voxel=0.5)
    # Magnitude images have Rician noise: the length of a complex number whose parts are both noisy.
    real, imaginary = rng.normal(0, 16, (2, *lattice.shape))
    coarse = _thick_labels(labels, lattice)
    lower, upper = _label_edges(coarse, lattice.spacing, len(lesions))
    return Phantom(np.round(np.hypot(voxels + real, imaginary)).astype(np.int16), lattice.spacing, lower, upper, coarse)


def _head_depth(rng: np.random.Generator, lattice: Lattice) -> np.ndarray:
    """How deep under the skin each sample lies, in mm, negative outside the head."""
    x, y, z = lattice.axes_mm
    size = lattice.size_mm
    half = size * np.array([0.46, 0.46, 0.85]) * rng.uniform(0.95, 1.0)
    middle = size * np.array([0.5, 0.5, 0.25])
    offsets = ((axis - centre) / reach for axis, centre, reach in zip((x, y, z), middle, half, strict=True))
    ball = sum(offset**2 for offset in offsets)
    return ((1 - np.sqrt(ball)) * half[:2].min()).astype(np.float32)


def _brain(rng: np.random.Generator, lattice: Lattice, depth: np.ndarray) -> np.ndarray:
    """Skin and fat bright, bone dark, then a folded cortex, white matter and the cleft between the halves."""
    fold = 3.4 * np.abs(smooth_noise(rng, lattice.fine_shape, tuple(4.5 / lattice.spacing)))
    x, _, _ = lattice.axes_mm
    cleft = np.maximum(np.abs(x - lattice.size_mm[0] / 2) - 0.7, depth - 36)
    signal = np.zeros(lattice.fine_shape, dtype=np.float32)
    for distance, value in (
        (-depth, _SCALP),
        (5 - depth, _BONE),
        (11 - depth, _FLUID),
        (12.5 - depth, _GREY),
        (16 - depth, _WHITE),
        (np.maximum(fold - 2.4, depth - 26), _GREY),
        (np.maximum(fold - 0.5, depth - 23), _FLUID),
        (cleft, _FLUID),
    ):
        within = distance if value in (_SCALP, _BONE) else np.maximum(distance, 11 - depth)
        signal += filled(within, _EDGE_MM) * (value - signal)
    return signal + 14 * smooth_noise(rng, lattice.fine_shape, 1.5) * (depth > 0)


def _ventricle_distance(rng: np.random.Generator, lattice: Lattice) -> np.ndarray:
    """Distance to the two lateral ventricles, negative inside."""
    x, y, z = lattice.axes_mm
    size = lattice.size_mm
    width, length = rng.uniform(4, 7), rng.uniform(20, 28)
    aside = np.abs(x - size[0] / 2) - 8 - 0.004 * (y - size[1] / 2) ** 2 / width
    offsets = np.sqrt((aside / width) ** 2 + ((y - size[1] / 2) / length) ** 2 + ((z - 0.45 * size[2]) / 16) ** 2)
    return ((offsets - 1) * width).astype(np.float32)


def _add_bright_vessels(rng: np.random.Generator, lattice: Lattice, signal: np.ndarray, depth: np.ndarray) -> None:
    """Vessels as bright as lesions, through the whole brain."""
    filling = np.zeros(lattice.fine_shape, dtype=np.float32)
    for _ in range(rng.integers(5, 9)):
        passing_tube(rng, lattice.size_mm, rng.uniform(0.9, 1.8)).paint(filling, lattice, _EDGE_MM)
    signal += filling * (depth > 12) * np.clip(_LESION - signal, 0, None)


def _place(rng: np.random.Generator, lattice: Lattice, white: np.ndarray, count: int) -> list[Blob]:
    """Lesions in the white matter that do not touch each other."""
    choices = np.argwhere(white)
    x, y, z = (np.ravel(axis) for axis in lattice.axes_mm)
    placed: list[Blob] = []
    while len(placed) < count:
        i, j, k = choices[rng.integers(len(choices))]
        blob = Blob.draw(rng, float(np.exp(rng.uniform(np.log(SMALLEST_MM), np.log(LARGEST_MM)))))
        blob = blob.at(np.array([x[i], y[j], z[k]]))
        lower, upper = blob.extent()
        inside = (lower > 0).all() and (upper < lattice.size_mm - lattice.spacing).all()
        if inside and all(np.linalg.norm(blob.centre - other.centre) > 26 for other in placed):
            placed.append(blob)
    return placed


def _thick_labels(labels: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Label of each voxel: that of any of its layers (lesions do not touch)."""
    return labels.reshape(*lattice.shape, lattice.slabs).max(axis=3)


def _label_edges(labels: np.ndarray, spacing: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges ``(n, 3)`` of each label in local mm."""
    where = [np.argwhere(labels == number) for number in range(1, count + 1)]
    lower = np.array([voxels.min(axis=0) - 0.5 for voxels in where]).reshape(-1, 3)
    upper = np.array([voxels.max(axis=0) + 0.5 for voxels in where]).reshape(-1, 3)
    return lower * spacing, upper * spacing
