"""CT-like volumes: a chest with 0 to 4 lesions between 3 and 30 mm."""

import numpy as np

from pipeline.sample.blobs import Blob
from pipeline.sample.chest import EDGE_MM, SOFT_HU, Chest, draw_chest
from pipeline.sample.lattice import Lattice, filled
from pipeline.sample.noise import smooth_noise
from pipeline.sample.phantom import Phantom

SMALLEST_MM, LARGEST_MM = 3.0, 30.0
_GAP_MM = 3.0
_TRIES = 400


def draw_diameters(rng: np.random.Generator, count: int) -> np.ndarray:
    """Lesion diameters in mm, ``(count,)``: log-uniform, so that small ones are more frequent."""
    return np.exp(rng.uniform(np.log(SMALLEST_MM + 1), np.log(LARGEST_MM - 4), count))


def draw_ct(rng: np.random.Generator, lattice: Lattice, diameters_mm: np.ndarray) -> Phantom:
    """A CT-like volume in HU with one lesion for each diameter ``(n,)``; one that finds no room is made smaller."""
    chest = draw_chest(rng, lattice)
    lesions = _place(rng, chest, diameters_mm)
    for lesion in lesions:
        _paint_lesion(rng, chest, lesion)
    bounds = [_visible_extent(chest, lesion) for lesion in lesions]
    voxels = lattice.scan(chest.hu, blur_voxel=0.55)
    grain = smooth_noise(rng, lattice.shape, (0.6, 0.6, 0.0))
    voxels += rng.uniform(14, 34) * grain
    return Phantom(
        voxels=np.clip(np.round(voxels), -1024, 3071).astype(np.int16),
        spacing=lattice.spacing,
        lower_mm=np.array([lower for lower, _ in bounds]).reshape(-1, 3),
        upper_mm=np.array([upper for _, upper in bounds]).reshape(-1, 3),
    )


def _place(rng: np.random.Generator, chest: Chest, diameters_mm: np.ndarray) -> list[Blob]:
    """Lesions that do not touch, the largest first: free in the lung, on a vessel or on the pleura."""
    placed: list[Blob] = []
    for wanted in np.sort(diameters_mm)[::-1]:
        diameter, blob = float(wanted), None
        while blob is None:
            blob = _settle(rng, chest, diameter, placed)
            diameter *= 0.85
        placed.append(blob)
    return placed


def _settle(rng: np.random.Generator, chest: Chest, diameter: float, placed: list[Blob]) -> Blob | None:
    blob = Blob.draw(rng, diameter, roughness=rng.uniform(0.4, 1.6))
    for _ in range(_TRIES):
        candidate = blob.at(_candidate_centre(rng, chest, diameter))
        if not any(_near(candidate, other) for other in placed) and _fits(chest, candidate, diameter):
            return candidate
    return None


def _candidate_centre(rng: np.random.Generator, chest: Chest, diameter: float) -> np.ndarray:
    size = chest.lattice.size_mm
    if rng.random() < 0.35:
        tubes = chest.vessels
        piece = rng.integers(len(tubes.radii))
        sideways = rng.standard_normal(3)
        sideways *= (0.35 * diameter + tubes.radii[piece]) / np.linalg.norm(sideways)
        return tubes.starts[piece] + sideways
    return rng.uniform(0, 1, 3) * size - chest.lattice.spacing / 2


def _fits(chest: Chest, blob: Blob, diameter: float) -> bool:
    """Inside the volume with a voxel to spare, and mostly in the lung (on the pleura at most a third is hidden)."""
    lower, upper = blob.extent()
    spacing = chest.lattice.spacing
    if (lower < spacing / 2).any() or (upper > chest.lattice.size_mm - 1.5 * spacing).any():
        return False
    depth = float(chest.depth_mm(blob.centre[None])[0])
    return depth > 0.2 * diameter and float((chest.depth_mm(blob.inner_points()) > 0).mean()) > 0.85


def _near(blob: Blob, other: Blob) -> bool:
    reach = (blob.semi_axes.max() + other.semi_axes.max()) * 1.1 + _GAP_MM
    return bool(np.linalg.norm(blob.centre - other.centre) < reach)


def _visible_extent(chest: Chest, blob: Blob) -> tuple[np.ndarray, np.ndarray]:
    """Bounds ``(3,)`` in local mm of the part that lies in the lung: what a reader would box."""
    points = blob.inner_points()
    seen = points[chest.depth_mm(points) > 0]
    return seen.min(axis=0), seen.max(axis=0)


def _paint_lesion(rng: np.random.Generator, chest: Chest, blob: Blob) -> None:
    """Solid (most), part-solid (a ground-glass halo with a solid core) or pure ground glass (large ones only)."""
    diameter = 2 * blob.semi_axes.max()
    kind = rng.choice(["solid", "part-solid", "ground-glass"], p=[0.68, 0.22, 0.10]) if diameter > 7 else "solid"
    if kind == "solid":
        _fill(rng, chest, blob, SOFT_HU + rng.uniform(-25, 15))
        return
    _fill(rng, chest, blob, rng.uniform(-620, -480))
    if kind == "part-solid":
        aside = rng.uniform(-0.15, 0.15, 3) * blob.semi_axes
        _fill(rng, chest, blob.scaled(rng.uniform(0.45, 0.7)).at(blob.centre + aside), SOFT_HU + rng.uniform(-30, 5))


def _fill(rng: np.random.Generator, chest: Chest, blob: Blob, hu: float) -> None:
    """Raise the scene to ``hu`` within the blob; what is denser already (vessel, wall) stays."""
    lower, upper = blob.extent()
    window = chest.lattice.window(lower - EDGE_MM, upper + EDGE_MM)
    scene = chest.hu[window]
    share = filled(blob.signed_distance(chest.lattice.points(window)).reshape(scene.shape), EDGE_MM)
    tissue = hu + 15 * smooth_noise(rng, scene.shape, 1.0)
    scene += share * np.clip(tissue - scene, 0, None)
