"""Which image each slice of a volume is, by where the images say that they lie."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import GeometryError
from pipeline.geometry import Grid
from pipeline.geometry.frames import affine_ras_to_lps
from pipeline.sources.dicom.origin import Origin, OriginInstance

_OFF_SLICE = 0.25
_PARALLEL = 1e-3


@dataclass(frozen=True, eq=False)
class SliceImage:
    """``frame`` counts from 1; `None` where the file is a single picture, or where several of its frames lie there.

    ``place`` is ImagePositionPatient and ImageOrientationPatient.
    """

    instance: OriginInstance
    frame: int | None
    place: np.ndarray

    def to_edge_px(self, points_lps: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """LPS mm ``(n, 3)`` → column and row ``(n, 2)`` from the outer edge of the first pixel.

        ``spacing`` is in mm along ``(i, j)``.
        """
        beside = points_lps - self.place[:3]
        return np.stack([beside @ self.place[3:6], beside @ self.place[6:9]], axis=1) / spacing + 0.5


def slice_images(origin: Origin, grid: Grid) -> list[SliceImage]:
    """The image of each slice ``k`` of a 3D grid.

    Matched along the slices' normal, so that slices of a tilted gantry, which were moved within their planes only, are
    found too.

    Raises:
        GeometryError: a slice has no image among the files: they are not those that the volume was read from.
    """
    affine = affine_ras_to_lps(grid.affine)
    first, step = affine[:3, 3], affine[:3, 2]
    row = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    found: dict[int, list[SliceImage]] = {}
    for instance in origin.instances:
        for number, place in enumerate(instance.places, start=1):
            values = np.array(place)
            along = float((values[:3] - first) @ step / (step @ step))
            k = round(along)
            parallel = abs(float(values[3:6] @ row) - 1) <= _PARALLEL
            if parallel and abs(along - k) <= _OFF_SLICE and 0 <= k < grid.shape[2]:
                frame = number if instance.frames > 1 else None
                found.setdefault(k, []).append(SliceImage(instance, frame, values))
    missing = [k for k in range(grid.shape[2]) if k not in found]
    if missing:
        raise GeometryError(
            f"{len(missing)} of {grid.shape[2]} slices have no image among the files that the scan was read from, "
            f"e.g. slice {missing[0]}: the files were replaced"
        )
    return [_one(found[k]) for k in range(grid.shape[2])]


def _one(images: list[SliceImage]) -> SliceImage:
    """Of several frames of one file at one place no header says here which was meant: then the file is named alone."""
    first = images[0]
    if first.frame is not None and len(images) > 1:
        return SliceImage(first.instance, None, first.place)
    return first
