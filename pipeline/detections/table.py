"""Detections as a table: the one set of columns that every export, ledger and model version uses."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.detections.detection import Detections
from pipeline.geometry import Boxes, Grid
from pipeline.types import Corners, Scores

_AXES = "ijk"
_WORLD = "xyz"


OUTLINE = "outline_voxel"
GRADE = "grade_"


def columns() -> list[str]:
    """The columns, in order. 2D rows leave the third axis empty (NaN).

    `OUTLINE` follows where there are outlines, and last ``grade_<name>`` where there are grades.
    """
    per_axis = [f"lower_{a}_voxel" for a in _AXES] + [f"upper_{a}_voxel" for a in _AXES]
    world = [f"centre_{w}_world" for w in _WORLD] + [f"size_{a}_world" for a in _AXES]
    return ["volume_id", "label", "score", *world, "unit", *per_axis]


def to_frame(detections: Detections) -> pd.DataFrame:
    """One row a detection.

    ``centre_?_world`` is RAS mm in 3D, the image plane (mm or px, see ``unit``) in 2D; ``size_?_world`` is the edge
    length along the ARRAY axes in the same unit; ``lower/upper_?_voxel`` are continuous voxel indices of the
    edges on the volume as acquired (voxel ``i`` covers ``i - 0.5 … i + 0.5``). ``outline_voxel``, where the detector
    gives outlines, lists the polygon's corners ``i, j, i, j …`` in the same indices. ``grade_<name>``, where it grades
    (``grade_malignancy``), is 0 … 1.
    """
    values = _values(detections)
    if OUTLINE in values:
        values[OUTLINE] = pd.Series([outline.ravel().tolist() for outline in values[OUTLINE]], dtype=object)
    return pd.DataFrame(values)


def write_table(detections: Detections, path: Path) -> None:
    """The columns of `to_frame` as Parquet, in a third of the time that a frame takes: an archive has one a scan."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    arrays = {}
    for name, values in _values(detections).items():
        if name == OUTLINE:
            starts = np.arange(len(values) + 1, dtype=np.int32) * prod(values.shape[1:])
            arrays[name] = pa.ListArray.from_arrays(starts, values.astype(np.float64).ravel())
        else:
            kind = pa.string() if isinstance(values, list) else pa.float64()
            arrays[name] = pa.array(values, kind, from_pandas=True)  # an axis that 2D lacks is empty
    parquet.write_table(pa.table(arrays), path)


def _values(detections: Detections) -> dict[str, Any]:
    """The columns in order; that of the outlines as ``(n, vertices, 2)``."""
    boxes = detections.boxes
    dims = boxes.grid.dims
    data: dict[str, Any] = {
        "volume_id": [detections.volume_id] * len(detections),
        "label": list(detections.label_names),
        "score": detections.scores,
        "unit": [boxes.grid.unit] * len(detections),
    }
    for prefix, names, suffix, values in (
        ("centre", _WORLD, "world", boxes.centres_world),
        ("size", _AXES, "world", boxes.sizes_world),
        ("lower", _AXES, "voxel", boxes.lower),
        ("upper", _AXES, "voxel", boxes.upper),
    ):
        for axis, name in enumerate(names):
            column = values[:, axis] if axis < dims else np.full(len(detections), np.nan)
            data[f"{prefix}_{name}_{suffix}"] = column
    ordered = {name: data[name] for name in columns()}
    if detections.outlines is not None:
        ordered[OUTLINE] = detections.outlines
    if detections.grades is not None:
        ordered[f"{GRADE}{detections.grade_name}"] = detections.grades
    return ordered


def from_frame(frame: pd.DataFrame, volume_id: str, grid: Grid, classes: tuple[str, ...]) -> Detections:
    """The detections of one volume back from its rows (inverse of `to_frame`)."""
    axes = _AXES[: grid.dims]
    lower = frame[[f"lower_{a}_voxel" for a in axes]].to_numpy(dtype=np.float64)
    upper = frame[[f"upper_{a}_voxel" for a in axes]].to_numpy(dtype=np.float64)
    labels = np.array([classes.index(name) for name in frame["label"]], dtype=np.int64)
    scores = frame["score"].to_numpy(dtype=np.float64)
    return Detections(volume_id, Boxes(lower, upper, grid), scores, labels, classes, _outlines(frame), *_grades(frame))


def _grades(frame: pd.DataFrame) -> tuple[Scores | None, str]:
    """The grades and their name."""
    column = next((str(name) for name in frame.columns if str(name).startswith(GRADE)), None)
    if column is None:
        return None, ""
    return frame[column].to_numpy(dtype=np.float64), column.removeprefix(GRADE)


def _outlines(frame: pd.DataFrame) -> Corners | None:
    if OUTLINE not in frame:
        return None
    if len(frame) == 0:
        return np.zeros((0, 3, 2))
    return np.array(frame[OUTLINE].tolist()).reshape(len(frame), -1, 2)
