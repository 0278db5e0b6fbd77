"""A volume: voxels on a grid, and what a human said about them."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry import Boxes, Grid
from pipeline.volumes.arrays import StoredArray

# A nucleus that was annotated without a class: it counts for detection and not for classification.
UNLABELLED = "unlabelled"


@dataclass(frozen=True, eq=False)
class Annotations:
    """What a human marked on one volume.

    ``boxes`` lie on the volume's own grid. ``labels`` holds one class name an object (`UNLABELLED` where it has
    none). ``ignore`` is bool ``(n,)``: objects that neither count as missed nor make a detection false.
    ``from_points`` is true where only centres were given, so that the box sizes are nominal: they may steer
    training, and no IoU may be computed against them. ``grades`` ``(n,)`` are 0 … 1, NaN where an object's is not
    known, and `None` where no grade is asked for (see `pipeline.config.data.GradeConfig`).
    """

    boxes: Boxes
    labels: tuple[str, ...]
    ignore: np.ndarray
    from_points: bool = False
    grades: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignore", np.asarray(self.ignore, dtype=bool))
        if not len(self.boxes) == len(self.labels) == len(self.ignore):
            raise ValueError(f"{len(self.boxes)} boxes, {len(self.labels)} labels, {len(self.ignore)} ignore flags")
        if self.grades is not None and len(self.grades) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes, {len(self.grades)} grades")

    @classmethod
    def of(cls, boxes: Boxes, labels: tuple[str, ...], from_points: bool = False) -> "Annotations":
        return cls(boxes, labels, np.zeros(len(boxes), dtype=bool), from_points)

    @classmethod
    def none(cls, grid: Grid) -> "Annotations":
        """A scan that was looked at and has no finding."""
        return cls.of(Boxes.empty(grid), ())

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume of the store: a record of where it lies and what it is; voxels are read on demand.

    ``annotations`` is ``None`` where nobody has annotated the volume, which differs from `Annotations.none`.
    ``patient_key`` is a keyed hash. ``name`` is safe to show: it holds no patient identifier.
    ``subset`` is what the data's own index says: ``train``, ``validation``, ``test`` or ``None``.
    ``study`` and ``series`` are digests of the UIDs that the volume came under. ``label_map_path`` is set where the
    annotations came with masks: the n-th positive value of that map, ascending, is where annotation n lies.
    """

    volume_id: str
    name: str
    patient_key: str
    modality: str
    grid: Grid
    channels: int
    dtype: np.dtype[Any]
    array_path: Path
    annotations: Annotations | None = None
    subset: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    study: str | None = None
    series: str | None = None
    label_map_path: Path | None = None

    @cached_property
    def array(self) -> StoredArray:
        """Voxels ``(channel, i, j[, k])`` as stored: nothing is read before a region is asked for."""
        return StoredArray(self.array_path, (self.channels, *self.grid.shape), self.dtype)

    @cached_property
    def label_map(self) -> StoredArray | None:
        """The label map ``(1, i, j[, k])`` of the annotations, 0 where there is no object; `None` without masks."""
        return None if self.label_map_path is None else StoredArray.open(self.label_map_path)
