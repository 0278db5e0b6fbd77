"""Volumes and annotations ↔ the JSON records beside the voxels in the store."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.geometry import Boxes, Grid
from pipeline.volumes.volume import Annotations, Volume

FORMAT = "cellscan-volume-2"


def voxel_digest(content: str, grid: Grid) -> str:
    """16 hex digits that name voxels on a grid: equal content gives equal names.

    Args:
        content: the voxels' own digest, `arrays.content_digest`.
        grid: where they lie.
    """
    digest = hashlib.sha256(f"{content} {grid.shape} {grid.unit} ".encode())
    digest.update((grid.affine + 0.0).tobytes())  # + 0.0: minus zero and zero are the same place
    return digest.hexdigest()[:16]


def grid_to_json(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist(), "unit": grid.unit}


def grid_from_json(raw: dict[str, Any]) -> Grid:
    return Grid(tuple(raw["shape"]), np.array(raw["affine"]), raw["unit"])


def volume_to_json(volume: Volume) -> dict[str, Any]:
    """Everything but voxels and annotations."""
    return {
        "format": FORMAT,
        "volume_id": volume.volume_id,
        "name": volume.name,
        "patient_key": volume.patient_key,
        "modality": volume.modality,
        "grid": grid_to_json(volume.grid),
        "channels": volume.channels,
        "dtype": volume.dtype.str,
        "subset": volume.subset,
        "attributes": volume.attributes,
        "study": volume.study,
        "series": volume.series,
    }


def volume_from_json(raw: dict[str, Any], array_path: Path, annotations: dict[str, Any] | None) -> Volume:
    """The inverse of `volume_to_json` and `annotations_to_json`.

    Raises:
        SourceError: the record is of another format.
    """
    if raw.get("format") != FORMAT:
        raise SourceError(f"volume record must be of format {FORMAT}, got {raw.get('format')!r}: ingest it again")
    grid = grid_from_json(raw["grid"])
    return Volume(
        volume_id=raw["volume_id"],
        name=raw["name"],
        patient_key=raw["patient_key"],
        modality=raw["modality"],
        grid=grid,
        channels=raw["channels"],
        dtype=np.dtype(raw["dtype"]),
        array_path=array_path,
        annotations=None if annotations is None else annotations_from_json(annotations, grid),
        subset=raw["subset"],
        attributes=raw["attributes"],
        study=raw["study"],
        series=raw["series"],
    )


def annotations_to_json(annotations: Annotations) -> dict[str, Any]:
    """Boxes as continuous voxel indices of their edges, ``(n, d)``."""
    return {
        "lower_voxel": annotations.boxes.lower.tolist(),
        "upper_voxel": annotations.boxes.upper.tolist(),
        "labels": list(annotations.labels),
        "ignore": annotations.ignore.tolist(),
        "from_points": annotations.from_points,
    }


def annotations_from_json(raw: dict[str, Any], grid: Grid) -> Annotations:
    lower, upper = (np.array(raw[f"{edge}_voxel"], dtype=float).reshape(-1, grid.dims) for edge in ("lower", "upper"))
    boxes = Boxes(lower, upper, grid)
    return Annotations(boxes, tuple(raw["labels"]), np.array(raw["ignore"], dtype=bool), raw["from_points"])
