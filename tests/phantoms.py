"""Volumes whose geometry is known by hand: oblique, flipped, anisotropic, one voxel thick."""

import hashlib
from pathlib import Path

import numpy as np

from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations, Volume
from pipeline.volumes.arrays import write_array


def rotation_about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def awkward_affine() -> np.ndarray:
    """Oblique by 30 degrees, first axis flipped, axes swapped, spacing 0.5 x 2 x 3 mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_about_z(30) @ np.array([[0.0, 2.0, 0.0], [-0.5, 0.0, 0.0], [0.0, 0.0, -3.0]])
    matrix[:3, 3] = [-12.0, 7.5, 100.0]
    return matrix


def awkward_grid(shape: tuple[int, int, int] = (40, 24, 16)) -> Grid:
    return Grid(shape, awkward_affine())


def blob(shape: tuple[int, ...], centre: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """A Gaussian of height 1 around ``centre`` (voxel index), float32 ``shape``."""
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    squares = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


def centre_of_mass(image: np.ndarray) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    return np.array([(image * axis).sum() / image.sum() for axis in axes])


def volume_with(
    folder: Path,
    array: np.ndarray,
    grid: Grid,
    boxes: Boxes | None = None,
    labels: tuple[str, ...] | None = None,
    patient: str = "p0",
    **more: object,
) -> Volume:
    """A volume on disk; ``array`` is ``(channel, i, j[, k])``."""
    volume_id = hashlib.sha256(array.tobytes() + patient.encode()).hexdigest()[:32]
    path = folder / f"{volume_id}.b2nd"
    write_array(path, array)
    boxes = Boxes.empty(grid) if boxes is None else boxes
    annotations = Annotations.of(boxes, ("lesion",) * len(boxes) if labels is None else labels)
    return Volume(
        volume_id, f"phantom {volume_id[:6]}", patient, "CT", grid, len(array), array.dtype, path, annotations, **more
    )  # type: ignore[arg-type]


def field_of_cells(folder: Path, seed: int, cells: int = 12, size: int = 64) -> Volume:
    """A 2D image of bright discs of 8 px on noise, boxes exact."""
    rng = np.random.default_rng(seed)
    image = rng.normal(20, 4, (size, size))
    centres = []
    while len(centres) < cells:
        spot = rng.uniform(5, size - 6, 2)
        if all(np.linalg.norm(spot - other) > 9 for other in centres):
            centres.append(spot)
            x, y = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
            image[(x - spot[0]) ** 2 + (y - spot[1]) ** 2 <= 16] += 120
    grid = Grid.of_pixels((size, size))
    boxes = Boxes.around(np.array(centres).reshape(-1, 2), np.full((len(centres), 2), 8.0), grid)
    array = np.clip(image, 0, 255).astype(np.uint8)[None]
    return volume_with(folder, array, grid, boxes, ("cell",) * len(boxes), patient=f"p{seed}")


def field_with_masks(folder: Path, seed: int, cells: int = 12, size: int = 64) -> Volume:
    """A 2D image of bright ellipses without noise, of which some touch, with their label map (values 3, 6, 9 …)."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    labels = np.zeros((size, size), np.int32)
    count = 0
    while count < cells:
        spot, radii, turn = rng.uniform(1, size - 2, 2), rng.uniform(3, 7, 2), rng.uniform(0, np.pi)
        along = (x - spot[0]) * np.cos(turn) + (y - spot[1]) * np.sin(turn)
        across = (y - spot[1]) * np.cos(turn) - (x - spot[0]) * np.sin(turn)
        inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
        if inside.sum() > 20 and not labels[inside].any():
            count += 1
            labels[inside] = 3 * count
    grid = Grid.of_pixels((size, size))
    boxes, _ = Boxes.from_label_map(labels, grid)
    path = folder / f"labels-{seed}-{size}-{cells}.b2nd"
    write_array(path, labels[None])
    image = np.where(labels > 0, 120, 20).astype(np.uint8)[None]
    return volume_with(folder, image, grid, boxes, ("cell",) * cells, patient=f"p{seed}", label_map_path=path)


def pixels_inside(outline, shape):
    """C-order positions of the pixels whose centres lie in a polygon ``(m, 2)``: the even-odd rule along ``i``."""
    i, j = np.indices(shape)
    inside = np.zeros(shape, dtype=bool)
    for (i_from, j_from), (i_to, j_to) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        crosses = (j_from <= j) != (j_to <= j)
        inside[crosses] ^= i[crosses] < i_from + (j[crosses] - j_from) * ((i_to - i_from) / (j_to - j_from or 1))
    return np.flatnonzero(inside)
