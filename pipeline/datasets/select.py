"""The annotated volumes that an experiment asks for, with labels in its own classes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.config.data import DataConfig, GradeConfig
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import UNLABELLED, Annotations, Volume


def select_volumes(config: DataConfig, volumes: Sequence[Volume]) -> list[Volume]:
    """Annotated volumes of the right kind, their labels checked against ``config.classes``, their objects graded.

    Raises:
        DatasetError: none is left, an annotation has a label that the experiment does not name, or a volume's attribute
            a text that ``config.grade`` does not.
    """
    chosen = [volume for volume in volumes if _wanted(config, volume)]
    if not chosen:
        kinds = sorted({f"{v.grid.dims}D {v.modality}" for v in volumes})
        raise DatasetError(
            f"no annotated {config.dims}D volume fits data.modalities={list(config.modalities)} and "
            f"data.where={config.where}; the catalog holds {len(volumes)} volumes of {kinds or 'no kind'} there"
        )
    placed = [_in_pixels(volume) for volume in chosen] if config.in_pixels else chosen
    return [replace(volume, annotations=_in_classes(config, volume)) for volume in placed]


def _wanted(config: DataConfig, volume: Volume) -> bool:
    return (
        volume.annotations is not None
        and volume.grid.dims == config.dims
        and (not config.modalities or volume.modality in config.modalities)
        and all(volume.attributes.get(key) == value for key, value in config.where.items())
    )


def _in_pixels(volume: Volume) -> Volume:
    annotations = volume.annotations
    assert annotations is not None
    grid = Grid.of_pixels(volume.grid.shape)
    boxes = Boxes(annotations.boxes.lower, annotations.boxes.upper, grid)
    return replace(volume, grid=grid, annotations=replace(annotations, boxes=boxes))


def _in_classes(config: DataConfig, volume: Volume) -> Annotations:
    annotations = volume.annotations
    assert annotations is not None
    boxes = annotations.boxes
    if annotations.from_points and config.point_box is not None:
        sizes = np.full_like(boxes.centres, config.point_box) / volume.grid.spacing
        boxes = Boxes.around(boxes.centres, sizes, volume.grid)
    labels = annotations.labels
    if config.merge_classes:
        labels = (config.classes[0],) * len(labels)
    unknown = sorted(set(labels) - set(config.classes) - {UNLABELLED})
    if unknown:
        raise DatasetError(
            f"{volume.name}: label {unknown[0]!r} is not among data.classes {list(config.classes)}; "
            "name it there, or set data.merge_classes to treat all labels as one"
        )
    return Annotations(boxes, labels, annotations.ignore, annotations.from_points, _grades(config.grade, volume))


def _grades(config: GradeConfig | None, volume: Volume) -> np.ndarray | None:
    """What is said of a volume is said of each of its objects, ``(n,)``."""
    if config is None or volume.annotations is None:
        return None
    said = volume.attributes.get(config.attribute)
    if said is not None and said not in config.values:
        raise DatasetError(
            f"{volume.name}: its {config.attribute} is {said!r}, which is not among data.grade.values "
            f"{list(config.values)}; name it there, as null if such objects are not to be graded"
        )
    grade = None if said is None else config.values[said]
    return np.full(len(volume.annotations), np.nan if grade is None else grade)
