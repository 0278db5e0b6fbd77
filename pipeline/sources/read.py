"""Scans straight from files, without catalog or store: what a registered model predicts on."""

import tempfile
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.errors import SourceError
from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.decoding.child import error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.image_units import image_units
from pipeline.sources.opening import Openings
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan
from pipeline.sources.units import Unit, dicom_plan, read_headers
from pipeline.sources.walk import FoundFile, archive_root, walk
from pipeline.volumes.arrays import StoredArray
from pipeline.volumes.read import grid_from_json

_IMAGES = ("nifti", "nrrd", "picture", "tiff")


def read_scans(path: Path, decoders: Decoders | None = None, options: ReadOptions = ReadOptions()) -> list[LoadedScan]:
    """The scans of one file (an archive file too), or of a folder, in a stable order.

    Label maps in a folder are left out; a file that is named itself is read whatever it is called.

    Args:
        path: file or folder.
        decoders: child processes to use again, for callers that read many paths.
        options: how to read.

    Raises:
        SourceError: nothing readable is there, or one of the scans is broken; the message is the reason.
        GeometryError: a scan's place in the world is missing or contradicts itself.
    """
    if decoders is None:
        with Decoders(1) as own:
            return read_scans(path, own, options)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cellscan-"))
        openings = stack.enter_context(closing(Openings(Path(folder) / "unpacked", decoders)))
        files = _files(archive_root(path), openings)
        units = _units(files, decoders)
        at = {where: str(file.location) for where, file in files.items()}
        requests = [
            unit.request(str(Path(folder) / str(number)), at, asdict(options)) for number, unit in enumerate(units)
        ]
        scans: list[tuple[str, LoadedScan]] = []
        for unit, (_, reply) in zip(units, decoders.run(requests), strict=True):
            scans.extend((min(unit.paths), scan) for scan in _load(reply))
    if not scans:
        raise SourceError("expected a scan (DICOM, NIfTI, NRRD, PNG, JPEG or TIFF), found none at the path given")
    return [scan for _, scan in sorted(scans, key=lambda pair: pair[0])]


def _files(root: Path, openings: Openings) -> dict[str, FoundFile]:
    """By catalog path, members of archive files among them."""
    walked = walk(root)
    opened = openings.open([file for file in walked if file.kind == "archive"], root)
    for reason in opened.refused.values():
        raise SourceError(reason)
    everything = {str(file.path): file for file in [*walked, *opened.members.values()]}
    return {path: file for path, file in everything.items() if file.path == root or label_rule(path) is None}


def _units(files: dict[str, FoundFile], decoders: Decoders) -> list[Unit]:
    dicom = {path: str(file.location) for path, file in files.items() if file.kind == "dicom"}
    plan = dicom_plan(read_headers(dicom, decoders))
    units, refusals = image_units([file for file in files.values() if file.kind in _IMAGES], files)
    for refusal in [*plan.refusals, *refusals]:
        if refusal.outcome == "quarantined":
            raise SourceError(refusal.reason)
    return [*plan.units, *units]


def _load(reply: Reply) -> list[LoadedScan]:
    error = error_of(reply)
    if error is not None:
        raise error
    for refused in reply["refused"]:
        if refused["outcome"] == "quarantined":
            raise SourceError(refused["reason"])
    return [
        LoadedScan(
            image=np.asarray(StoredArray.open(Path(raw["image"]["path"]))),
            grid=grid_from_json(raw["grid"]),
            modality=raw["modality"],
            attributes=raw["attributes"],
            notes=tuple(raw["notes"]),
            files=tuple(raw["files"]),
            part=raw["part"],
            content=raw["image"]["content"],
        )
        for raw in reply["scans"]
    ]
