"""Label maps → objects.

A label map holds 0 for background. How values become objects:

- ``instances``: each positive value is one object, however many pieces it has. Files in a folder ``label(s)``.
- ``mask``: the same, but a map with a single positive value says only "lesion or not": in 3D it is one object (one
  file a lesion, of several pieces maybe), in 2D its 8-connected components are the objects. Files in a folder
  ``mask(s)``, or named ``mask…``.
- ``lesions``: every 26-connected component of at least 5 voxels is one object (the rule that the MS lesion consensus
  is published with). Files named ``lesions``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.images.nifti import load_nifti
from pipeline.sources.images.pictures import read_pixels
from pipeline.types import LabelMap

LabelRule = Literal["instances", "mask", "lesions"]
SMALLEST_LESION_VOXELS = 5
_LARGEST_DENSE_LABEL = 1 << 20


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """Boxes of the objects of a label map, and their values ``(n,)``, ascending.

    ``grid`` is the map's own in 3D and a pixel grid in 2D, where pictures of labels state no geometry.
    """

    boxes: Boxes
    values: np.ndarray

    @property
    def grid(self) -> Grid:
        return self.boxes.grid


def load_label_map(path: Path, rule: LabelRule, kind: str) -> tuple[LabelMap, LabelledObjects]:
    """The label map ``(i, j[, k])``, one value an object after its rule (see the module), and the objects.

    Raises:
        AnnotationError: values that are not whole numbers from 0 up, or more than one channel.
        SourceError: the file cannot be read.
    """
    read, grid = _read(path, kind)
    label_map = _objects(_whole_numbers(read), rule)
    boxes, values = Boxes.from_label_map(label_map, grid)
    return label_map, LabelledObjects(boxes, values)


def _read(path: Path, kind: str) -> tuple[np.ndarray, Grid]:
    if kind == "nifti":
        (scan,) = load_nifti([path])
        return scan.image[0], scan.grid
    pixels, _ = read_pixels(path)
    if pixels.shape[2] != 1:
        raise AnnotationError(f"a label map has one channel, got {pixels.shape[2]}: colours are not labels")
    values = pixels[:, :, 0].T
    return values, Grid.of_pixels((values.shape[0], values.shape[1]))


def _whole_numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        raise AnnotationError("labels must be whole numbers; this map holds fractions")
    if values.size and values.min() < 0:
        raise AnnotationError(f"labels must be 0 or above, got {values.min()}")
    if values.size and values.max() >= _LARGEST_DENSE_LABEL:
        _, dense = np.unique(values, return_inverse=True)
        return (dense.reshape(values.shape) + int(values.min() > 0)).astype(np.int32)
    return np.ascontiguousarray(values.astype(np.int32))


def _objects(labels: np.ndarray, rule: LabelRule) -> np.ndarray:
    from scipy import ndimage

    binary = rule != "instances" and len(np.unique(labels[labels > 0])) <= 1
    if rule == "lesions":
        joined, count = ndimage.label(labels > 0, np.ones((3,) * labels.ndim))
        sizes = np.bincount(joined.ravel(), minlength=count + 1)
        large = sizes >= SMALLEST_LESION_VOXELS
        large[0] = False
        return np.where(large, np.cumsum(large), 0)[joined].astype(np.int32)
    if binary and labels.ndim == 2:
        return ndimage.label(labels > 0, np.ones((3, 3)))[0].astype(np.int32)
    if binary:
        return (labels > 0).astype(np.int32)
    return labels
