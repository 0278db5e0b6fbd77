"""What a decoding process can be asked to do, by name. Imports wait until a job needs them.

A scan job is a function ``(paths, options) → list[LoadedScan]``; an annotation job gives JSON of its own.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan, RefusedFiles
from pipeline.volumes.arrays import write_array
from pipeline.volumes.read import grid_to_json, voxel_digest

Job = dict[str, Any]
Reply = dict[str, Any]

# Every loader of scans: the files of one unit and the options in, whole volumes out.
_LOADERS = {
    "series": "pipeline.sources.dicom.series:load_series",
    "enhanced": "pipeline.sources.dicom.enhanced:load_enhanced",
    "slide": "pipeline.sources.dicom.slides:load_slides",
    "plane": "pipeline.sources.dicom.plane:load_plane",
    "nifti": "pipeline.sources.images.nifti:load_nifti",
    "nrrd": "pipeline.sources.images.nrrd:load_nrrd",
    "picture": "pipeline.sources.images.pictures:load_picture",
    "tiff": "pipeline.sources.images.tiff:load_tiff",
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


def _annotations(job: Job) -> Reply:
    from pipeline.sources.annotations.read import read_annotations

    (path,) = job["paths"]
    return read_annotations(Path(path), job["format"], Path(job["out"]), job.get("images"))


def _unpack(job: Job) -> Reply:
    from pipeline.sources.archives.limits import UnpackLimits
    from pipeline.sources.archives.unpack import unpack

    limits = UnpackLimits(**job.get("limits", {}))
    return unpack(Path(job["paths"][0]), Path(job["out"]), limits).to_json()


def _dicomdir(job: Job) -> Reply:
    from pipeline.sources.archives.dicomdir import read_dicomdir

    return {"files": list(read_dicomdir(Path(job["paths"][0])).files)}


def _origin(job: Job) -> Reply:
    from pipeline.sources.dicom.origin import describe

    return describe([Path(path) for path in job["paths"]])


def _deidentify(job: Job) -> Reply:
    from pipeline.sources.deidentification.job import deidentify_files
    from pipeline.sources.dicom.header import relaxed_pydicom

    relaxed_pydicom()
    return deidentify_files(job)


_OTHERS: dict[str, Callable[[Job], Reply]] = {
    "deidentify": _deidentify,
    "index": _index,
    "origin": _origin,
    "annotations": _annotations,
    "dicomdir": _dicomdir,
    "unpack": _unpack,
}


def _scans(scans: list[LoadedScan | RefusedFiles], job: Job) -> Reply:
    described = []
    refused = [scan for scan in scans if isinstance(scan, RefusedFiles)]
    for number, scan in enumerate(scan for scan in scans if isinstance(scan, LoadedScan)):
        files = list(scan.files) or list(job["paths"])
        out = Path(f"{job['out']}.{number}")
        try:
            described.append(_written(scan, files, out))
        except SourceError as error:  # a reader of regions met something broken: only this scan is lost
            out.unlink(missing_ok=True)
            refused.append(RefusedFiles(tuple(files), str(error)))
        except BaseException:  # nothing of the unit is taken
            for left in (out, *(Path(one["image"]["path"]) for one in described)):
                left.unlink(missing_ok=True)
            raise
    return {"scans": described, "refused": [asdict(one) for one in refused]}


def _written(scan: LoadedScan, files: list[str], out: Path) -> dict[str, Any]:
    written = write_array(out, scan.image)
    return {
        "image": written.to_json(),
        "volume_id": voxel_digest(written.content, scan.grid),
        "grid": grid_to_json(scan.grid),
        "modality": scan.modality,
        "attributes": scan.attributes,
        "patient_id": scan.patient_id,
        "part": scan.part,
        "notes": list(scan.notes),
        "files": files,
        "copies": list(scan.copies),
        "digests": {path: scan.digests.get(path) or _file_digest(path) for path in files},
    }


def _file_digest(path: str) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
