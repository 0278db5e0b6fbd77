"""A label map's own grid against its image's: the same voxels, in another order perhaps, or not the same."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.types import LabelMap

# A label map lies on its image if no corner is further off than this.
_SAME_PLACE_VOXELS = 0.05


@dataclass(frozen=True, eq=False)
class Lattice:
    """Voxel ``v`` of a label map is voxel ``turn @ v + offset`` of its image.

    ``turn`` ``(d, d)`` swaps and flips axes, ``offset`` ``(d,)`` counts voxels: both are whole, so nothing is
    interpolated.
    """

    turn: np.ndarray
    offset: np.ndarray
    image: Grid

    @classmethod
    def of(cls, label_map: Grid, image: Grid) -> "Lattice":
        """How the voxels of ``label_map`` are voxels of ``image``: all of them, or a part (a crop, fewer slices).

        In 2D, and where one of them counts in pixels, both must have the same shape: such files state no place.

        Raises:
            AnnotationError: another shape or place, with the mm that lie between them.
        """
        dims = image.dims
        if dims != 3 or label_map.dims != 3 or "px" in (image.unit, label_map.unit):
            if label_map.shape != image.shape:
                raise AnnotationError(_shapes(label_map, image))
            return cls(np.eye(dims, dtype=int), np.zeros(dims, dtype=int), image)
        exact = image.inverse @ label_map.affine
        turn, offset = np.round(exact[:3, :3]).astype(int), np.round(exact[:3, 3]).astype(int)
        lattice = cls(turn, offset, image)
        if not _swaps_and_flips(turn):
            raise AnnotationError(f"{_shapes(label_map, image)}, and its voxels have another size or direction")
        corners = _corners(label_map.shape)
        apart = (corners @ (exact[:3, :3] - turn).T + exact[:3, 3] - offset) @ image.affine[:3, :3].T
        _check(float(np.linalg.norm(apart, axis=1).max()), label_map, image, corners)
        first, last = lattice._extent(label_map.shape)
        beyond = np.maximum(-first, 0) + np.maximum(last - np.array(image.shape) + 1, 0)
        if beyond.any():
            raise AnnotationError(f"the label map reaches {np.max(beyond * image.spacing):.2f} mm beyond its image")
        return lattice

    def _extent(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """First and last voxel of the image that the label map covers."""
        ends = np.stack([self.offset, self.turn @ (np.array(shape) - 1) + self.offset])
        return ends.min(axis=0), ends.max(axis=0)

    @property
    def unchanged(self) -> bool:
        """Whether axes, directions and first voxel are the image's."""
        return bool((self.turn == np.eye(len(self.turn))).all() and not self.offset.any())

    def boxes(self, boxes: Boxes) -> Boxes:
        """Boxes on the label map's grid → on the image's, exactly."""
        ends = np.stack([boxes.lower @ self.turn.T + self.offset, boxes.upper @ self.turn.T + self.offset])
        return Boxes(ends.min(axis=0), ends.max(axis=0), self.image)

    def label_map(self, values: LabelMap) -> LabelMap:
        """The label map ``(i, j[, k])`` in the image's own shape and order, 0 where it does not reach."""
        first, last = self._extent(values.shape)
        source = np.abs(self.turn).argmax(axis=1)  # of each axis of the image
        turned = values.transpose(tuple(source))
        turned = turned[tuple(slice(None, None, int(self.turn[axis, source[axis]])) for axis in range(values.ndim))]
        whole = np.zeros(self.image.shape, dtype=values.dtype)
        whole[tuple(slice(low, up + 1) for low, up in zip(first, last, strict=True))] = turned
        return whole


def _check(apart_mm: float, label_map: Grid, image: Grid, corners: np.ndarray) -> None:
    if apart_mm <= _SAME_PLACE_VOXELS * image.spacing.min():
        return
    if label_map.shape == image.shape:
        beside = np.linalg.norm(label_map.to_world(corners) - image.to_world(corners), axis=1).max()
        raise AnnotationError(f"the label map lies up to {beside:.2f} mm beside its image")
    raise AnnotationError(f"{_shapes(label_map, image)}, and its voxels lie up to {apart_mm:.2f} mm beside the image's")


def _swaps_and_flips(turn: np.ndarray) -> bool:
    ones = np.abs(turn)
    return bool((ones.sum(axis=0) == 1).all() and (ones.sum(axis=1) == 1).all() and ones.max() == 1)


def _corners(shape: tuple[int, ...]) -> np.ndarray:
    far = np.array(shape, dtype=float) - 1
    return np.array([[far[axis] * ((number >> axis) & 1) for axis in range(3)] for number in range(8)])


def _shapes(label_map: Grid, image: Grid) -> str:
    return f"the label map has shape {label_map.shape}, its image {image.shape}"
