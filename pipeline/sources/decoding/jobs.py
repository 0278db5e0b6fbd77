"""What a decoding process can be asked to do, by name. Imports wait until a job needs them.

A scan job is a function ``(paths, options) → list[LoadedScan]``; an annotation job gives JSON of its own.
"""

import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan
from pipeline.volumes.read import grid_to_json

Job = dict[str, Any]
Reply = dict[str, Any]

# Every loader of scans: the files of one unit and the options in, whole volumes out.
_LOADERS = {
    "series": "pipeline.sources.dicom.series:load_series",
    "plane": "pipeline.sources.dicom.plane:load_plane",
    "nifti": "pipeline.sources.images.nifti:load_nifti",
    "picture": "pipeline.sources.images.pictures:load_picture",
}


def do(job: Job) -> Reply:
    """Do one job.

    Raises:
        CellscanError: what is wrong with the files.
    """
    name = job["job"]
    if name in _LOADERS:
        paths = [Path(path) for path in job["paths"]]
        return _scans(_function(_LOADERS[name])(paths, ReadOptions(**job.get("options", {}))), job)
    return _OTHERS[name](job)


def _function(name: str) -> Callable[..., Any]:
    module, function = name.split(":")
    return getattr(import_module(module), function)


def _index(job: Job) -> Reply:
    from pipeline.sources.dicom.header import read_header

    headers: list[dict[str, Any]] = []
    for path in job["paths"]:
        try:
            headers.append(read_header(Path(path)).to_json())
        except SourceError as error:
            headers.append({"kind": "broken", "series_uid": "", "instance_uid": "", "reason": str(error)})
    return {"headers": headers}


def _label_map(job: Job) -> Reply:
    from pipeline.sources.annotations.label_maps import load_label_map

    label_map, objects = load_label_map(Path(job["paths"][0]), job["rule"], job["kind"])
    _save(job["out"], label_map)
    return {
        "grid": grid_to_json(objects.grid),
        "lower_voxel": objects.boxes.lower.tolist(),
        "upper_voxel": objects.boxes.upper.tolist(),
        "values": objects.values.tolist(),
    }


_OTHERS: dict[str, Callable[[Job], Reply]] = {"index": _index, "label_map": _label_map}


def _scans(scans: list[LoadedScan], job: Job) -> Reply:
    described = []
    for number, scan in enumerate(scans):
        out = f"{job['out']}.{number}.npy"
        _save(out, scan.image)
        files = list(scan.files) or list(job["paths"])
        described.append(
            {
                "image": out,
                "volume_id": scan.volume_id,
                "grid": grid_to_json(scan.grid),
                "modality": scan.modality,
                "attributes": scan.attributes,
                "patient_id": scan.patient_id,
                "study": scan.study,
                "part": scan.part,
                "notes": list(scan.notes),
                "files": files,
                "copies": list(scan.copies),
                "digests": {path: scan.digests.get(path) or _file_digest(path) for path in files},
            }
        )
    return {"scans": described}


def _file_digest(path: str) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _save(path: str, array: np.ndarray) -> None:
    with Path(path).open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
