"""Which files are read together: the files of a DICOM series, or one picture or NIfTI file by itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.sources.catalog import Outcome
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Job
from pipeline.sources.identifiers import uid_digest

# One message to a decoder costs about a millisecond, so it names many files.
_BATCH = 256
# Kinds of header that make scans, and whether the files of one series are read together.
_READ_TOGETHER = {"slice": "series", "enhanced": "enhanced", "slide": "slide"}
_READ_ALONE = {"plane": "plane"}


@dataclass(frozen=True)
class Unit:
    """Files (catalog paths) that one decoding job reads; ``job`` names it; ``series`` and ``study`` are digests;
    ``note`` is said of what is read from them."""

    job: str
    paths: tuple[str, ...]
    series: str | None = None
    study: str | None = None
    note: str = ""

    def request(self, out: str, at: Mapping[str, str], options: dict[str, Any]) -> Job:
        """The job for a decoder; ``at`` tells where the bytes of each path are."""
        return {"job": self.job, "paths": [at[path] for path in self.paths], "out": out, "options": options}


@dataclass(frozen=True)
class Refusal:
    """A file that is not read, and why."""

    path: str
    outcome: Outcome
    reason: str
    series: str | None = None


@dataclass(frozen=True)
class DicomPlan:
    """What is to become of DICOM files: ``annotations`` are objects that annotate (SOP class by path)."""

    units: list[Unit]
    refusals: list[Refusal]
    annotations: dict[str, str]
    directories: list[str]


def read_headers(at: Mapping[str, str], decoders: Decoders) -> dict[str, dict[str, Any]]:
    """Headers by path. A file that kills the decoder costs no other file its header.

    Args:
        at: where the bytes of each path are.
        decoders: that read them.
    """
    paths = list(at)
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    headers: dict[str, dict[str, Any]] = {}
    alone: list[str] = []
    requests = ({"job": "index", "paths": [at[path] for path in batch]} for batch in batches)
    for batch, (_, reply) in zip(batches, decoders.run(requests), strict=True):
        if "error" in reply:
            alone.extend(batch)
        else:
            headers.update(zip(batch, reply["headers"], strict=True))
    requests = ({"job": "index", "paths": [at[path]]} for path in alone)
    for path, (_, reply) in zip(alone, decoders.run(requests), strict=True):
        broken = {"kind": "broken", "reason": reply.get("message", "")}
        headers[path] = broken if "error" in reply else reply["headers"][0]
    return headers


def dicom_plan(headers: Mapping[str, Mapping[str, Any]]) -> DicomPlan:
    """DICOM files by series.

    A series may be spread over several folders. Where folders hold the same instance each, they are copies, and each
    is read by itself; one that holds a part of what another holds is a note away from being taken for the whole. Files
    that all claim to be one and the same instance cannot be slices of one volume: each is
    read by itself.
    """
    plan = DicomPlan([], [], {}, [])
    together: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    study: dict[str, str | None] = {}
    for path, header in headers.items():
        kind, series_uid = header["kind"], header.get("series_uid", "")
        study[path] = uid_digest(header.get("study_uid", ""))
        if kind in _READ_TOGETHER:
            together[_READ_TOGETHER[kind], series_uid][path] = header["instance_uid"]
        elif kind in _READ_ALONE:
            plan.units.append(Unit(_READ_ALONE[kind], (path,), uid_digest(series_uid), study[path]))
        elif kind == "annotation":
            plan.annotations[path] = header["sop_class"]
        elif kind == "directory":
            plan.directories.append(path)
        else:
            outcome: Outcome = "ignored" if kind == "ignored" else "quarantined"
            plan.refusals.append(Refusal(path, outcome, header["reason"], uid_digest(series_uid)))
    for (job, series_uid), instances in together.items():
        for paths in _groups(instances):
            note = _part_of_others(paths, instances)
            plan.units.append(Unit(job, tuple(paths), uid_digest(series_uid), study[paths[0]], note))
    return plan


def _groups(instances: dict[str, str]) -> Iterable[Sequence[str]]:
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


def _part_of_others(paths: Sequence[str], instances: dict[str, str]) -> str:
    """What to say of files that are not all of their series, where the others lie elsewhere."""
    here, everywhere = {instances[path] for path in paths}, set(instances.values())
    if len(here) == len(everywhere) or len(here) == 1 == len(paths):
        return ""
    return f"holds {len(here)} of the {len(everywhere)} instances of its series; the others lie in other folders"
