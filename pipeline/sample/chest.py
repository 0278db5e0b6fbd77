"""A piece of a chest in Hounsfield units: lung, wall with ribs, mediastinum, vessels."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from pipeline.sample.lattice import Lattice, filled
from pipeline.sample.noise import smooth_noise
from pipeline.sample.vessels import Tubes, grow_tree, passing_tube
from pipeline.types import Points

AIR_HU, LUNG_HU, FAT_HU, SOFT_HU, MARROW_HU, CORTEX_HU = -1000.0, -860.0, -100.0, 42.0, 190.0, 620.0
EDGE_MM = 0.9


@dataclass(frozen=True, eq=False)
class Chest:
    """A painted scene on the fine lattice.

    ``hu``: fine shape, float32. ``lung_mm``: signed distance to the pleura, negative in the lung. ``vessels``: the
    tubes within it.
    """

    lattice: Lattice
    hu: np.ndarray
    lung_mm: np.ndarray
    vessels: Tubes

    def depth_mm(self, points: Points) -> np.ndarray:
        """How deep in the lung ``(n, 3)`` local points lie, in mm, negative outside of it."""
        index = self.lattice.fine_index(points).T
        return -map_coordinates(self.lung_mm, index, order=1, mode="nearest")


def draw_chest(rng: np.random.Generator, lattice: Lattice) -> Chest:
    """A chest of its own; whether the mediastinum lies left or right is drawn too."""
    x, y, z = lattice.axes_mm
    size = lattice.size_mm
    mirrored = bool(rng.integers(2))
    if mirrored:
        x = np.float32(size[0]) - x
    wall_mm = _wall_distance(rng, lattice, x, y, z)
    lung_mm = np.maximum(wall_mm, -_mediastinum_distance(rng, x, y, z, size))
    if rng.random() < 0.4:
        lung_mm = np.maximum(lung_mm, -_diaphragm_distance(rng, x, y, z, size))
    lung_mm = (lung_mm + 0.8 * smooth_noise(rng, lattice.fine_shape, 5.0)).astype(np.float32)

    hu = _body(rng, lattice, wall_mm)
    _add_ribs(rng, hu, wall_mm, x, y, z, size)
    _add_plaques(rng, lung_mm, wall_mm, y, z, size)
    air = filled(lung_mm, EDGE_MM)
    hu += air * (_lung_tissue(rng, lattice, y, size) - hu)

    vessels = _draw_vessels(rng, size, mirrored)
    filling = np.zeros(lattice.fine_shape, dtype=np.float32)
    vessels.paint(filling, lattice, EDGE_MM)
    hu += filling * air * (SOFT_HU - hu)
    _add_fissure(rng, hu, air, x, y, z, size)
    return Chest(lattice, hu, lung_mm, vessels)


def _wall_distance(
    rng: np.random.Generator, lattice: Lattice, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Distance to the inner face of the chest wall, negative on the side of the lung."""
    size = lattice.size_mm
    half_x, half_y = rng.uniform(0.41, 0.46) * size[0], rng.uniform(0.42, 0.47) * size[1]
    taper = 1 - rng.uniform(0.02, 0.16) * (2 * z / size[2] - 1) ** 2
    ellipse = np.sqrt(((x - 0.52 * size[0]) / half_x) ** 2 + ((y - 0.5 * size[1]) / half_y) ** 2) / taper
    return (ellipse - 1) * min(half_x, half_y)


def _mediastinum_distance(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, size: np.ndarray
) -> np.ndarray:
    middle = size[1] * rng.uniform(0.4, 0.55)
    bulge = 1 + 0.25 * np.sin(z / size[2] * np.pi * rng.uniform(0.8, 1.6) + rng.uniform(0, np.pi))
    return np.hypot(x - size[0] * 1.02, 0.75 * (y - middle)) - rng.uniform(0.2, 0.28) * size[0] * bulge


def _diaphragm_distance(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, size: np.ndarray
) -> np.ndarray:
    radius = rng.uniform(45, 60)
    top = rng.uniform(6, 16)
    offsets = (x - 0.5 * size[0]) ** 2 + (y - 0.45 * size[1]) ** 2 + (z - top + radius) ** 2
    return np.sqrt(offsets) - radius


def _body(rng: np.random.Generator, lattice: Lattice, wall_mm: np.ndarray) -> np.ndarray:
    """Muscle, then fat, then skin and air, from the inside to the outside of the wall."""
    waves = 1.5 * smooth_noise(rng, lattice.fine_shape, 5.0)
    depth = wall_mm + waves
    hu = SOFT_HU + 8 * smooth_noise(rng, lattice.fine_shape, 1.5)
    hu += filled(9.0 - depth, 1.5) * (FAT_HU - hu)
    hu += filled(19.0 - depth, 1.5) * (SOFT_HU - hu)
    hu += filled(21.0 - depth, 1.5) * (AIR_HU - hu)
    return hu.astype(np.float32)


def _add_ribs(
    rng: np.random.Generator,
    hu: np.ndarray,
    wall_mm: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    size: np.ndarray,
) -> None:
    pitch, first, slope = rng.uniform(20, 25), rng.uniform(0, 20), rng.uniform(0.15, 0.4)
    along = (z - first - slope * (y - 0.5 * size[1]) + pitch / 2) % pitch - pitch / 2
    distance = np.hypot(wall_mm - 4.8, along / 1.7) - rng.uniform(2.6, 3.4)
    beside_mediastinum = filled(x - 0.72 * size[0], 3.0)
    bone = filled(distance, EDGE_MM) * beside_mediastinum
    hu += bone * (CORTEX_HU - hu)
    hu += filled(distance + 1.2, EDGE_MM) * beside_mediastinum * (MARROW_HU - hu)


def _add_plaques(
    rng: np.random.Generator, lung_mm: np.ndarray, wall_mm: np.ndarray, y: np.ndarray, z: np.ndarray, size: np.ndarray
) -> None:
    """Flat thickenings of the pleura, of lesion density; they are no findings here."""
    for _ in range(rng.integers(0, 3)):
        middle = rng.uniform(0.2, 0.8, 2) * size[1:]
        reach = rng.uniform(8, 16, 2)
        lens = 1 - ((y - middle[0]) / reach[0]) ** 2 - ((z - middle[1]) / reach[1]) ** 2
        thickness = rng.uniform(1.2, 2.2) * np.sqrt(np.clip(lens, 0, None))
        near_wall = wall_mm > -6
        np.maximum(lung_mm, np.where(near_wall, wall_mm + thickness, lung_mm), out=lung_mm, casting="same_kind")


def _lung_tissue(rng: np.random.Generator, lattice: Lattice, y: np.ndarray, size: np.ndarray) -> np.ndarray:
    texture = 22 * smooth_noise(rng, lattice.fine_shape, 1.6) + 20 * smooth_noise(rng, lattice.fine_shape, 8.0)
    return LUNG_HU + texture + rng.uniform(20, 70) * (y / size[1] - 0.5)


def _draw_vessels(rng: np.random.Generator, size: np.ndarray, mirrored: bool) -> Tubes:
    """Trees from the hilum, and a few vessels that only pass through."""
    side = -1.0 if mirrored else 1.0
    hilum_x = 0.1 * size[0] if mirrored else 0.9 * size[0]
    tubes = []
    for tilt in (0.5, 0.0, -0.5):
        root = np.array([hilum_x, rng.uniform(0.4, 0.6) * size[1], rng.uniform(0.35, 0.65) * size[2]])
        heading = np.array([-side, rng.uniform(-0.3, 0.3), tilt])
        tubes.append(grow_tree(rng, root, heading, rng.uniform(2.6, 3.6)))
    tubes += [passing_tube(rng, size, rng.uniform(0.8, 2.2)) for _ in range(rng.integers(3, 7))]
    joined = tubes[0]
    for more in tubes[1:]:
        joined = joined.joined(more)
    return joined


def _add_fissure(
    rng: np.random.Generator,
    hu: np.ndarray,
    air: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    size: np.ndarray,
) -> None:
    """The thin sheet between two lobes."""
    bend = 4 * np.sin(x / size[0] * np.pi * 1.5 + rng.uniform(0, 6))
    plane = 0.8 * (z - rng.uniform(0.3, 0.7) * size[2]) + 0.6 * (y - 0.5 * size[1]) + bend
    hu += filled(np.abs(plane) - 0.25, EDGE_MM) * air * np.clip(-500.0 - hu, 0, None)
