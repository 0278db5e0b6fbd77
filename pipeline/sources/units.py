"""Which files are read together: the slices of a DICOM series, or one picture or NIfTI file by itself."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.sources.catalog import Outcome
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Job
from pipeline.sources.identifiers import uid_digest

_BATCH = 64


@dataclass(frozen=True)
class Unit:
    """Files (absolute paths) that one decoding job reads; ``job`` names it; ``series`` is a digest."""

    job: str
    paths: tuple[str, ...]
    series: str | None = None

    def request(self, out: str) -> Job:
        return {"job": self.job, "paths": list(self.paths), "out": out}


@dataclass(frozen=True)
class Refusal:
    """A file that is not read, and why."""

    path: str
    outcome: Outcome
    reason: str
    series: str | None = None


def read_headers(paths: Sequence[str], decoders: Decoders) -> dict[str, dict[str, Any]]:
    """Headers by path. A file that kills the decoder costs no other file its header."""
    batches = [list(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH)]
    headers: dict[str, dict[str, Any]] = {}
    alone: list[str] = []
    for job, reply in decoders.run({"job": "index", "paths": batch} for batch in batches):
        if "error" in reply:
            alone.extend(job["paths"])
        else:
            headers.update(zip(job["paths"], reply["headers"], strict=True))
    for job, reply in decoders.run({"job": "index", "paths": [path]} for path in alone):
        (path,) = job["paths"]
        broken = {"kind": "broken", "series_uid": "", "instance_uid": "", "reason": reply.get("message", "")}
        headers[path] = broken if "error" in reply else reply["headers"][0]
    return headers


def dicom_units(headers: dict[str, dict[str, Any]]) -> tuple[list[Unit], list[Refusal]]:
    """DICOM files by series.

    A series may be spread over several folders. Where folders hold the same instance each, they are copies, and each
    is read by itself. Files that all claim to be one and the same instance cannot be slices of one volume: each is
    read by itself.
    """
    units: list[Unit] = []
    refusals: list[Refusal] = []
    series: dict[str, dict[str, str]] = defaultdict(dict)
    for path, header in headers.items():
        digest = uid_digest(header["series_uid"])
        if header["kind"] == "slice":
            series[header["series_uid"]][path] = header["instance_uid"]
        elif header["kind"] == "plane":
            units.append(Unit("plane", (path,), digest))
        else:
            outcome: Outcome = "ignored" if header["kind"] == "ignored" else "quarantined"
            refusals.append(Refusal(path, outcome, header["reason"], digest))
    for uid, instances in series.items():
        units.extend(Unit("series", tuple(paths), uid_digest(uid)) for paths in _groups(instances))
    return units, refusals


def _groups(instances: dict[str, str]) -> Iterable[list[str]]:
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for path in sorted(instances):
        folders[PurePosixPath(path).parent].append(path)
    within = sum(len({instances[path] for path in paths}) for paths in folders.values())
    groups = [sorted(instances)] if within == len(set(instances.values())) else list(folders.values())
    for group in groups:
        if len({instances[path] for path in group}) == 1:
            yield from ([path] for path in group)
        else:
            yield group
