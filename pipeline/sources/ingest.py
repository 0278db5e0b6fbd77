"""An archive → the catalog and the store: every file is accounted for, and no bad file ends the run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.settings import Settings
from pipeline.sources.annotations.annotate import annotate
from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.catalog import Catalog, FileOutcome, FileRecord, ItemKind
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.patients import PatientKeys
from pipeline.sources.units import Refusal, Unit, dicom_units, read_headers
from pipeline.sources.walk import FoundFile, walk
from pipeline.volumes.read import grid_from_json
from pipeline.volumes.store import VolumeStore

Progress = Callable[[int, int, str], None]

# Raised whenever reading changes, so that what an older reader made is read again.
READER = 1
_SAVE_EVERY = 64


@dataclass(frozen=True)
class IngestSummary:
    """What became of every file below ``root``, ordered by path; ``unchanged`` files were known and not read again."""

    root: Path
    files: tuple[FileOutcome, ...]
    volume_ids: tuple[str, ...]
    unchanged: int

    def counts(self) -> dict[str, int]:
        """Files by outcome, volumes, and files that were not read again."""
        outcomes = Counter(file.outcome for file in self.files)
        return {
            "files": len(self.files),
            "ingested": outcomes["ingested"],
            "ignored": outcomes["ignored"],
            "quarantined": outcomes["quarantined"],
            "volumes": len(self.volume_ids),
            "unchanged": self.unchanged,
        }

    def to_json(self) -> dict[str, Any]:
        """One JSON object; paths are relative to ``root`` and for the user's own screen."""
        return {
            "root": str(self.root),
            "counts": self.counts(),
            "volume_ids": list(self.volume_ids),
            "files": [asdict(file) for file in self.files],
        }


def ingest(root: Path, settings: Settings, progress: Progress | None = None) -> IngestSummary:
    """Read everything below ``root`` that is new or changed, and its annotations.

    A file is known by path, size and time of change; a DICOM series is read again as a whole when one of its files
    changed, came or went. A run that was killed is continued by running again.

    Raises:
        SourceError: there is nothing at ``root``.
    """
    root = root.expanduser().resolve()
    with Decoders() as decoders:
        run = _Run(root, settings, decoders, progress or (lambda done, total, what: None))
        try:
            return run.finish()
        finally:
            run.catalog.close()


class _Run:
    def __init__(self, root: Path, settings: Settings, decoders: Decoders, progress: Progress) -> None:
        self.root = root
        self.store = VolumeStore(settings.volumes)
        self.store.sweep()
        self.catalog = Catalog(settings.catalog_url, self.store)
        self.keys = PatientKeys(settings.home)
        self.decoders = decoders
        self.progress = progress
        self.found = {str(file.path): file for file in walk(root, settings.home)}
        self.known = self.catalog.records(root)
        self.records: dict[str, FileRecord] = {}
        self.headers: dict[str, dict[str, Any]] = {}

    def finish(self) -> IngestSummary:
        same = {path for path, file in self.found.items() if self._unchanged(path, file)}
        gone = [path for path in self.known if path not in self.found]
        if len(same) < len(self.found) or gone:
            same -= self._disturbed(same)
            self._forget(gone)
            self.records = {path: self.known[path] for path in same}
            self._read([file for path, file in self.found.items() if path not in same])
            self._annotate()
        else:
            self.records = dict(self.known)
        return self._summary(len(same))

    def _annotate(self) -> None:
        written = annotate(self.found, self.known, self.records, self.store, self.keys, self.decoders, self.progress)
        self._save([replace(record, reader=READER) for record in written])

    def _unchanged(self, path: str, file: FoundFile) -> bool:
        known = self.known.get(path)
        return (
            known is not None
            and (known.size, known.mtime_ns, known.reader) == (file.size, file.mtime_ns, READER)
            and known.kind == _role(file)
            and (known.volume_id is None or self.store.has(known.volume_id))
        )

    def _disturbed(self, same: set[str]) -> set[str]:
        """Unchanged DICOM files whose series lost, gained or changed another file."""
        touched = {record.series for path, record in self.known.items() if path not in same and record.series}
        fresh = [path for path, file in self.found.items() if path not in same and _is_image(file, "dicom")]
        self.headers = read_headers(fresh, self.decoders)
        units, refusals = dicom_units(self.headers)
        touched |= {unit.series for unit in units if unit.series} | {file.series for file in refusals if file.series}
        disturbed = {path for path in same if self.known[path].series in touched}
        self.headers.update(read_headers(sorted(disturbed), self.decoders))
        return disturbed

    def _forget(self, gone: list[str]) -> None:
        # Annotation files are forgotten until they are applied: a run killed in between applies them again.
        waiting = [path for path, file in self.found.items() if _role(file) == "annotation" and path in self.known]
        self.catalog.forget([*gone, *waiting])

    def _read(self, files: list[FoundFile]) -> None:
        units, refusals = dicom_units(self.headers)
        for kind in ("nifti", "picture"):
            units.extend(Unit(kind, (str(file.path),)) for file in files if _is_image(file, kind))
        refused = [self._refused(refusal) for refusal in refusals]
        self._save([*refused, *(_other(file) for file in files if file.kind == "other")])
        waiting: list[FileRecord] = []
        by_request = {tuple(unit.paths): unit for unit in units}
        requests = (unit.request(str(self.store.incoming())) for unit in units)
        for number, (job, reply) in enumerate(self.decoders.run(requests), start=1):
            waiting.extend(self._take(by_request[tuple(job["paths"])], reply))
            if len(waiting) >= _SAVE_EVERY:
                self._save(waiting)
                waiting = []
            self.progress(number, len(units), "scans")
        self._save(waiting)

    def _take(self, unit: Unit, reply: Reply) -> list[FileRecord]:
        if "error" in reply:
            reasons = {path: _blame(path, unit, reply) for path in unit.paths}
            return [self._record(path, "quarantined", reason, None, unit.series) for path, reason in reasons.items()]
        records = []
        for scan in reply["scans"]:
            volume = self.store.put(
                image=Path(scan["image"]),
                grid=grid_from_json(scan["grid"]),
                patient_key=self.keys.key(scan["patient_id"]) if scan["patient_id"] else None,
                modality=scan["modality"],
                attributes=scan["attributes"],
                volume_id=scan["volume_id"],
            )
            note = "; ".join(scan["notes"])
            records += [self._record(path, "ingested", note, volume.volume_id, unit.series) for path in scan["files"]]
        copies = sorted({path for scan in reply["scans"] for path in scan["copies"]})
        again = "holds the same slice as another file"
        return records + [self._record(path, "ignored", again, None, unit.series) for path in copies]

    def _record(
        self, path: str, outcome: Any, reason: str, volume_id: str | None = None, series: str | None = None
    ) -> FileRecord:
        file = self.found[path]
        before = self.known.get(path)
        by = before.annotated_by if before is not None and before.volume_id == volume_id else None
        return FileRecord(path, file.size, file.mtime_ns, READER, "image", outcome, reason, volume_id, series, by)

    def _refused(self, refusal: Refusal) -> FileRecord:
        return self._record(refusal.path, refusal.outcome, refusal.reason, None, refusal.series)

    def _save(self, records: list[FileRecord]) -> None:
        self.records.update({record.path: record for record in records})
        self.catalog.save(records, self.store)

    def _summary(self, unchanged: int) -> IngestSummary:
        ordered = [self.records[path] for path in sorted(self.records)]
        volumes = dict.fromkeys(record.volume_id for record in ordered if record.kind == "image" and record.volume_id)
        files = tuple(record.relative_to(self.root) for record in ordered)
        return IngestSummary(self.root, files, tuple(str(one) for one in volumes), unchanged)


def _other(file: FoundFile) -> FileRecord:
    return FileRecord(str(file.path), file.size, file.mtime_ns, READER, "other", "ignored", file.reason)


def _role(file: FoundFile) -> ItemKind:
    if file.kind == "other":
        return "other"
    return "annotation" if file.kind == "table" or _is_label_map(file) else "image"


def _is_label_map(file: FoundFile) -> bool:
    return file.kind in ("nifti", "picture") and label_rule(str(file.path)) is not None


def _is_image(file: FoundFile, kind: str) -> bool:
    return file.kind == kind and not _is_label_map(file)


def _blame(path: str, unit: Unit, reply: Reply) -> str:
    """The reason for one file of a unit: the broken one's own, or that its series is not whole."""
    broken = reply.get("path")
    if broken is None or broken == path:
        return str(reply["message"])
    return f"its series is not whole: 1 of {len(unit.paths)} files cannot be read"
