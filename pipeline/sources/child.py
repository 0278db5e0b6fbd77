"""The process that decodes untrusted files: it reads jobs, writes replies, and may die without harm.

Messages are JSON, each after its length (8 bytes, big endian), on stdin and on what was stdout at the start; whatever
a native decoder prints goes nowhere. Arrays travel as ``.npy`` files that the parent names.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.errors import AnnotationError, CellscanError, GeometryError, SourceError
from pipeline.sources.scan import LoadedScan
from pipeline.volumes.read import grid_to_json

MEMORY_BYTES = 16 << 30
Job = dict[str, Any]
Reply = dict[str, Any]


def serve() -> None:
    """Answer jobs until stdin ends."""
    replies = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _limit_memory()
    warnings.simplefilter("ignore")  # decoders warn with header values in the text
    _relax_pydicom()
    while (job := receive(sys.stdin.buffer)) is not None:
        send(replies, answer(job))


def answer(job: Job) -> Reply:
    """Do one job; a fault becomes ``{"error": kind, "message": …}``."""
    try:
        return _JOBS[job["job"]](job)
    except CellscanError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
        path = getattr(error, "path", None)
        return reply if path is None else {**reply, "path": path}
    except MemoryError:
        return {"error": "SourceError", "message": "reading needs more memory than is allowed"}
    except BaseException as error:  # a Rust panic in a decoder is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return {"error": "SourceError", "message": f"cannot be read ({type(error).__name__}): damaged or cut"}


def error_of(reply: Reply) -> CellscanError | None:
    """The fault that a reply reports, as the error that it was."""
    if "error" not in reply:
        return None
    kinds = {kind.__name__: kind for kind in (SourceError, GeometryError, AnnotationError)}
    return kinds.get(reply["error"], SourceError)(reply["message"])


def send(stream: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message, or `None` at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    data = stream.read(int.from_bytes(head, "big"))
    return json.loads(data)


def _index(job: Job) -> Reply:
    from pipeline.sources.dicom_header import read_header

    headers: list[dict[str, str]] = []
    for path in job["paths"]:
        try:
            header = read_header(Path(path))
            headers.append({"kind": header.kind, "series_uid": header.series_uid, "instance_uid": header.instance_uid})
            headers[-1]["reason"] = header.reason
        except SourceError as error:
            headers.append({"kind": "broken", "series_uid": "", "instance_uid": "", "reason": str(error)})
    return {"headers": headers}


def _series(job: Job) -> Reply:
    from pipeline.sources.dicom import load_series

    return _scans(load_series([Path(path) for path in job["paths"]]), job)


def _plane(job: Job) -> Reply:
    from pipeline.sources.dicom import load_plane

    return _scans([load_plane(Path(job["paths"][0]))], job)


def _nifti(job: Job) -> Reply:
    from pipeline.sources.nifti import load_nifti

    return _scans([load_nifti(Path(job["paths"][0]))], job)


def _picture(job: Job) -> Reply:
    from pipeline.sources.pictures import load_picture

    return _scans([load_picture(Path(job["paths"][0]))], job)


def _label_map(job: Job) -> Reply:
    from pipeline.sources.label_maps import load_label_map

    label_map, objects = load_label_map(Path(job["paths"][0]), job["rule"], job["kind"])
    _save(job["out"], label_map)
    return {
        "grid": grid_to_json(objects.grid),
        "lower_voxel": objects.boxes.lower.tolist(),
        "upper_voxel": objects.boxes.upper.tolist(),
        "values": objects.values.tolist(),
    }


def _scans(scans: list[LoadedScan], job: Job) -> Reply:
    described = []
    for number, scan in enumerate(scans):
        out = f"{job['out']}.{number}.npy"
        _save(out, scan.image)
        described.append(
            {
                "image": out,
                "volume_id": scan.volume_id,
                "grid": grid_to_json(scan.grid),
                "modality": scan.modality,
                "attributes": scan.attributes,
                "patient_id": scan.patient_id,
                "notes": list(scan.notes),
                "files": list(scan.files) or list(job["paths"]),
                "copies": list(scan.copies),
            }
        )
    return {"scans": described}


def _save(path: str, array: np.ndarray) -> None:
    with Path(path).open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())


_JOBS: dict[str, Callable[[Job], Reply]] = {
    "index": _index,
    "series": _series,
    "plane": _plane,
    "nifti": _nifti,
    "picture": _picture,
    "label_map": _label_map,
}


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _relax_pydicom() -> None:
    """Values that break DICOM's letter (dates, UIDs) are no reason to refuse a scan; what matters is checked here."""
    import logging

    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


if __name__ == "__main__":
    serve()
