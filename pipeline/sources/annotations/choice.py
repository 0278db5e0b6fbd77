"""Which of the volumes of one file or series an annotation means, and its objects on that volume.

Where there is only one, it is that. Of several (phases, echoes, levels of a slide), the one that everything the file
says of them fits: number of axes, stated size, every centre inside, every voxel of a label map a voxel of it. If
several fit, coordinates in pixels and on a slide mean the largest picture, whose levels the others are. All else is
not clear, and refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.geometry import Boxes, Grid
from pipeline.sources.annotations.lattice import Lattice
from pipeline.sources.annotations.marks import MarkSet
from pipeline.sources.annotations.place import Placed, place
from pipeline.sources.annotations.rasters import rasterised
from pipeline.sources.annotations.read import StoredLabelMap
from pipeline.types import LabelMap
from pipeline.volumes import UNLABELLED, Annotations, Volume
from pipeline.volumes.arrays import StoredArray

_IN_PICTURE = ("edge_px", "index", "slide_mm")


@dataclass(frozen=True)
class Classes:
    """What tables say of the classes of an image's objects.

    ``label`` is that of all objects whose file names none, ``values`` those of a label map's values.
    """

    label: str = ""
    values: dict[int, str] | None = None


def choose(sets: Sequence[MarkSet | StoredLabelMap], volumes: Sequence[Volume]) -> tuple[Volume, tuple[str, ...]]:
    """The volume that ``sets`` mean, and a note where it was found by its geometry.

    Raises:
        AnnotationError: they fit none of ``volumes``, or several.
    """
    if len(volumes) == 1:
        return volumes[0], ()
    fitting, reasons = [], []
    for volume in volumes:
        try:
            for one in sets:
                _check(one, volume)
            fitting.append(volume)
        except AnnotationError as error:
            reasons.append(error)
    if not fitting:
        raise AnnotationError(f"it fits none of the {len(volumes)} volumes of its image: {reasons[0]}")
    if len(fitting) > 1 and all(isinstance(one, MarkSet) and one.frame in _IN_PICTURE for one in sets):
        most = max(np.prod(volume.grid.shape) for volume in fitting)
        fitting = [volume for volume in fitting if np.prod(volume.grid.shape) == most and volume.grid.dims == 2]
    if len(fitting) != 1:
        raise AnnotationError(f"{len(fitting)} volumes of its image fit, so it is not clear which is meant")
    return fitting[0], (f"of the {len(volumes)} volumes of its image, the one that it fits",)


def placed(sets: Sequence[MarkSet | StoredLabelMap], volume: Volume, classes: Classes, generic: str) -> Placed:
    """Everything that one file says of ``volume``, as one.

    Args:
        sets: of that volume.
        volume: with its grid and attributes.
        classes: from tables.
        generic: the class of a label map's objects where nothing names one.

    Raises:
        AnnotationError: something does not fit the volume, or a value of a label map has no class.
    """
    parts = [
        _marks(one, volume, classes) if isinstance(one, MarkSet) else _label_map(one, volume.grid, classes, generic)
        for one in sets
    ]
    return parts[0] if len(parts) == 1 else _together(parts, volume.grid)


def _check(one: MarkSet | StoredLabelMap, volume: Volume) -> None:
    if isinstance(one, MarkSet):
        place(one, volume.grid, volume.attributes)
    else:
        Lattice.of(one.grid, volume.grid)


def _marks(marks: MarkSet, volume: Volume, classes: Classes) -> Placed:
    on_grid = place(marks, volume.grid, volume.attributes, classes.label)
    label_map, why = rasterised(marks, volume.grid, volume.attributes)
    return Placed(on_grid.annotations, (*on_grid.notes, why) if why else on_grid.notes, label_map)


def _label_map(one: StoredLabelMap, grid: Grid, classes: Classes, generic: str) -> Placed:
    lattice = Lattice.of(one.grid, grid)
    labels = tuple(_class_of(int(value), one, classes, generic) for value in one.values)
    as_it_is = lattice.unchanged and one.grid.shape == grid.shape
    label_map = one.path if as_it_is else lattice.label_map(StoredArray.open(one.path)[0])
    ignore = np.array([int(value) in one.ignore for value in one.values], dtype=bool)
    return Placed(Annotations(lattice.boxes(one.boxes), labels, ignore), one.notes, label_map)


def _class_of(value: int, one: StoredLabelMap, classes: Classes, generic: str) -> str:
    if classes.values is None:
        return one.labels.get(value) or classes.label or generic
    if value not in classes.values:
        missing = [int(v) for v in one.values if int(v) not in classes.values]
        raise AnnotationError(f"{len(missing)} values of the label map have no class, e.g. {missing[0]}")
    return classes.values[value] or UNLABELLED


def _together(parts: list[Placed], grid: Grid) -> Placed:
    several = [part.annotations for part in parts]
    lower, upper = (np.concatenate([getattr(one.boxes, edge) for one in several]) for edge in ("lower", "upper"))
    merged = Annotations(
        Boxes(lower, upper, grid),
        tuple(label for one in several for label in one.labels),
        np.concatenate([one.ignore for one in several]),
        any(one.from_points for one in several),
    )
    label_map = _joined([part.label_map for part in parts])
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    if label_map is None and any(part.label_map is not None for part in parts):
        notes.append("masks overlap, or not every object has one, so that no mask is kept")
    return Placed(merged, tuple(notes), label_map)


def _joined(label_maps: list[LabelMap | Path | None]) -> LabelMap | None:
    """One label map, the values of each counted on from those before; `None` where they overlap or one is missing."""
    whole: LabelMap | None = None
    for given in label_maps:
        one = StoredArray.open(given)[0] if isinstance(given, Path) else given
        if one is None or (whole is not None and (whole[one > 0] > 0).any()):
            return None
        whole = one.copy() if whole is None else np.where(one > 0, one + whole.max(), whole)
    return whole
