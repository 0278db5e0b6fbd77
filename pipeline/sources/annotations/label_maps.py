"""Label maps: NIfTI, NRRD, PNG and TIFF rasters whose values are objects, 0 background.

How values become objects:

- ``instances``: each positive value is one object, however many pieces it has. Files in a folder ``label(s)``, and
  3D Slicer's ``.seg.nrrd``, whose segments are objects.
- ``mask``: the same, but a map with a single positive value says only "lesion or not": in 3D it is one object (one
  file a lesion, of several pieces maybe), in 2D its 8-connected components are the objects. Files in a folder
  ``mask(s)``, or named ``mask…``.
- ``lesions``: every 26-connected component is one object; one below 5 voxels is to be ignored, neither missed nor
  false (the rule that the MS lesion consensus is published with). Files named ``lesions``.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.sources.annotations.marks import BESIDE, LabelMapSet
from pipeline.sources.annotations.segments import is_nrrd, read_segments
from pipeline.types import LabelMap

LabelRule = Literal["instances", "mask", "lesions"]
SMALLEST_LESION_VOXELS = 5
_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG", b"\xff\xd8\xff"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_label_map(path: Path, rule: LabelRule) -> list[LabelMapSet]:
    """The label maps in one file, one value an object after its rule (see the module).

    Maps lie on their own grid; pictures of labels state no geometry, so that their pixels are those of their image. Of
    a palette the index is the label. Several maps come from layers of a segmentation whose segments overlap. Maps
    belong to the image that the file's name and place mean.

    Raises:
        AnnotationError: values that are not whole numbers from 0 up, or more than one channel.
        SourceError: the file cannot be read.
    """
    if is_nrrd(path):
        return [_of(one.label_map, one.grid, rule, one.labels, one.notes) for one in read_segments(path)]
    values, grid = _read(path)
    return [_of(values, grid, rule)]


def _of(
    values: np.ndarray, grid: Grid, rule: LabelRule, labels: dict[int, str] | None = None, notes: tuple[str, ...] = ()
) -> LabelMapSet:
    """``labels`` are the file's own names of values: they stay on the values they were given for."""
    label_map = _whole_numbers(values)
    if labels:
        return LabelMapSet(BESIDE, label_map, grid, labels, notes)
    objects = _objects(label_map, rule)
    return LabelMapSet(BESIDE, objects, grid, {}, notes, _too_small(objects) if rule == "lesions" else frozenset())


def _too_small(objects: LabelMap) -> frozenset[int]:
    """The objects below `SMALLEST_LESION_VOXELS`."""
    return frozenset(np.flatnonzero(np.bincount(objects.ravel()) < SMALLEST_LESION_VOXELS).tolist()) - {0}


def _read(path: Path) -> tuple[np.ndarray, Grid]:
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic.startswith(_JPEG_MAGIC):
        raise AnnotationError("JPEG changes values, so it cannot hold labels: save them as PNG or TIFF")
    if magic.startswith(_TIFF_MAGIC):
        return _read_tiff(path)
    return _read_picture(path) if magic == _PNG_MAGIC else _read_nifti(path)


def _read_nifti(path: Path) -> tuple[np.ndarray, Grid]:
    from pipeline.sources.images.nifti import load_nifti

    scans = load_nifti([path, *_data_of(path)])
    if len(scans) != 1 or scans[0].image.shape[0] != 1:
        raise AnnotationError(f"a label map is one volume of one channel, got {len(scans)} volumes")
    return np.asarray(scans[0].image[0:1, :, :, :])[0], scans[0].grid


def _data_of(header: Path) -> list[Path]:
    """The data file of a NIfTI pair, beside its header."""
    name = header.name.lower()
    if not name.endswith((".hdr", ".hdr.gz")):
        return []
    wanted = name.replace(".hdr", ".img")
    return [path for path in header.parent.iterdir() if path.name.lower() == wanted]


def _read_tiff(path: Path) -> tuple[np.ndarray, Grid]:
    from pipeline.sources.images.tiff import read_tiff

    values = _one_channel(read_tiff(path))
    return values, Grid(values.shape, np.eye(values.ndim + 1), "px")


def _read_picture(path: Path) -> tuple[np.ndarray, Grid]:
    from pipeline.sources.images.pictures import read_pixels

    values = _one_channel(np.moveaxis(read_pixels(path, indices=True), -1, 0)).T
    return values, Grid.of_pixels(values.shape)


def _one_channel(values: np.ndarray) -> np.ndarray:
    if values.shape[0] != 1:
        raise AnnotationError(f"a label map has one channel, got {values.shape[0]}: colours are not labels")
    return values[0]


def _whole_numbers(values: np.ndarray) -> LabelMap:
    if values.dtype.kind == "f" and (values != np.round(values)).any():
        raise AnnotationError("labels must be whole numbers; this map holds fractions")
    if values.size and values.min() < 0:
        raise AnnotationError(f"labels must be 0 or above, got {values.min()}")
    large = bool(values.size) and values.max() > np.iinfo(np.int32).max
    return np.ascontiguousarray(values.astype(np.int64 if large else np.int32))


def _objects(labels: LabelMap, rule: LabelRule) -> LabelMap:
    from scipy import ndimage

    binary = rule != "instances" and len(np.unique(labels[labels > 0])) <= 1
    if rule == "lesions":
        return ndimage.label(labels > 0, np.ones((3,) * labels.ndim))[0].astype(np.int32)
    if binary and labels.ndim == 2:
        return ndimage.label(labels > 0, np.ones((3, 3)))[0].astype(np.int32)
    if binary:
        return (labels > 0).astype(np.int32)
    return labels
