"""Scans straight from files, without catalog or store: what a registered model predicts on."""

import tempfile
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.decoding.child import error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.scan import LoadedScan
from pipeline.sources.units import Unit, dicom_units, read_headers
from pipeline.sources.walk import FoundFile, walk
from pipeline.volumes.arrays import StoredArray
from pipeline.volumes.read import grid_from_json


def read_scans(path: Path, decoders: Decoders | None = None) -> list[LoadedScan]:
    """The scans of a DICOM, NIfTI or picture file, or of a folder of these, in a stable order.

    Label maps in a folder are left out; a file that is named itself is read whatever it is called.

    Args:
        path: file or folder.
        decoders: child processes to use again, for callers that read many paths.

    Raises:
        SourceError: nothing readable is there, or one of the scans is broken; the message is the reason.
        GeometryError: a scan's place in the world is missing or contradicts itself.
    """
    if decoders is None:
        with Decoders(1) as own:
            return read_scans(path, own)
    path = path.expanduser().resolve()
    files = [file for file in walk(path) if file.path == path or label_rule(str(file.path)) is None]
    with tempfile.TemporaryDirectory(prefix="cellscan-") as folder:
        scans: list[tuple[str, LoadedScan]] = []
        units = _units(files, decoders)
        requests = [unit.request(str(Path(folder) / str(number))) for number, unit in enumerate(units)]
        for job, reply in decoders.run(requests):
            error = error_of(reply)
            if error is not None:
                raise error
            scans.extend((min(job["paths"]), scan) for scan in _load(reply))
    if not scans:
        raise SourceError("expected a DICOM, NIfTI, PNG, JPEG or TIFF scan, found none at the path given")
    return [scan for _, scan in sorted(scans, key=lambda pair: pair[0])]


def _units(files: list[FoundFile], decoders: Decoders) -> list[Unit]:
    headers = read_headers([str(file.path) for file in files if file.kind == "dicom"], decoders)
    units, refusals = dicom_units(headers)
    broken = [refusal for refusal in refusals if refusal.outcome == "quarantined"]
    if broken:
        raise SourceError(broken[0].reason)
    units.extend(Unit(file.kind, (str(file.path),)) for file in files if file.kind in ("nifti", "picture"))
    return units


def _load(reply: Reply) -> list[LoadedScan]:
    return [
        LoadedScan(
            image=np.asarray(StoredArray.open(Path(raw["image"]))),
            grid=grid_from_json(raw["grid"]),
            modality=raw["modality"],
            attributes=raw["attributes"],
            notes=tuple(raw["notes"]),
            files=tuple(raw["files"]),
            content=raw["content"],
        )
        for raw in reply["scans"]
    ]
