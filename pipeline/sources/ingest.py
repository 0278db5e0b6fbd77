"""An archive → the catalog and the store: every file is accounted for, and no bad file ends the run."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.settings import Settings
from pipeline.sources.annotations.annotate import annotate
from pipeline.sources.catalog import AnnotationRecord, Catalog, FileOutcome, FileRecord
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.directories import directory_rows
from pipeline.sources.finding import Finding, Settled, is_as_known, is_image
from pipeline.sources.identifiers import uid_digest
from pipeline.sources.image_units import image_units
from pipeline.sources.opening import Openings
from pipeline.sources.options import ReadOptions
from pipeline.sources.patients import PatientKeys
from pipeline.sources.taking import Rows, Taking, volume_record
from pipeline.sources.units import DicomPlan, Unit, dicom_plan, read_headers
from pipeline.sources.walk import archive_root
from pipeline.volumes.store import VolumeStore

Progress = Callable[[int, int, str], None]

# What is read is written into the catalog after so many files or seconds, whichever comes first: a run that is killed
# reads no more than that again.
_SAVE_FILES, _SAVE_SECONDS = 500, 2.0


@dataclass(frozen=True)
class IngestSummary:
    """What became of every file below ``root``, ordered by path; ``unchanged`` files were known and not read again.

    ``unfetched`` counts, by reason, instances of a server that are not here: another run fetches them.
    ``withheld`` counts, by reason, files that could not be freed from their patients, where that was asked for.
    """

    root: Path
    files: tuple[FileOutcome, ...]
    volume_ids: tuple[str, ...]
    unchanged: int
    unfetched: dict[str, int] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)

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
            "unfetched": self.unfetched,
            "withheld": self.withheld,
            "files": [asdict(file) for file in self.files],
        }


def ingest(
    root: Path,
    settings: Settings,
    progress: Progress | None = None,
    leave_out: Path | None = None,
    settled: Settled | None = None,
) -> IngestSummary:
    """Read everything below ``root`` that is new or changed, and its annotations.

    A file is known by path, size and time of change; a DICOM series is read again as a whole when one of its files
    changed, came or went. Archive files (zip, tar) are read like folders. Where ``root`` is a DICOMDIR, its folder is
    meant; ``leave_out`` is a folder below it that is no part of the archive. A run that was killed is continued by
    running again. Where ``settled`` says of a new or changed file that it still arrives, it waits for a later run, and
    so do all new files of its DICOM series: what was known of them stands until then.

    Raises:
        SourceError: there is nothing at ``root``.
    """
    root, left = archive_root(root), leave_out or settings.home
    with closing(Catalog.of(settings)) as catalog:
        known = catalog.records(root)
        reader = ReadOptions(tilt=settings.gantry_tilt).digest
        if known and is_as_known(root, left, known, reader, VolumeStore(settings.volumes)):
            return _summary(root, known, len(known))
        with Decoders() as decoders, closing(Openings(settings.home / "unpacked", decoders)) as openings:
            progress = progress or (lambda done, total, what: None)
            return _Run(root, left, known, settings, catalog, decoders, openings, progress, settled).run()


def _summary(root: Path, records: dict[str, FileRecord], unchanged: int) -> IngestSummary:
    ordered = [records[path] for path in sorted(records)]
    volumes = dict.fromkeys(one for record in ordered if record.kind == "image" for one in record.volume_ids)
    return IngestSummary(root, tuple(record.relative_to(root) for record in ordered), tuple(volumes), unchanged)


class _Run:
    def __init__(
        self,
        root: Path,
        leave_out: Path,
        known: dict[str, FileRecord],
        settings: Settings,
        catalog: Catalog,
        decoders: Decoders,
        openings: Openings,
        progress: Progress,
        settled: Settled | None,
    ) -> None:
        self.root, self.catalog, self.decoders, self.progress = root, catalog, decoders, progress
        self.options = ReadOptions(tilt=settings.gantry_tilt)
        self.store = VolumeStore(settings.volumes)
        self.store.sweep()
        self.keys = PatientKeys(settings.home)
        self.one_at_a_time = FileLock(settings.home / "annotate.lock")
        self.known = known
        self.finding = Finding(root, leave_out, known, self.options.digest, self.store, openings, settled)
        self.records: dict[str, FileRecord] = {}
        self.headers: dict[str, dict[str, Any]] = {}
        self.again: list[str] = []
        # Saved last: an archive file that is known is not opened, so its members must be known by then.
        self.archives: list[FileRecord] = []

    def run(self) -> IngestSummary:
        finding = self.finding
        if len(finding.same) == len(finding.files) and not finding.gone:
            self.records = dict(self.known)
            return _summary(self.root, self.records, len(finding.same))
        self.catalog.enter_archive(self.root)
        self._index()
        self._forget()
        self.records = {path: self.known[path] for path in finding.same}
        plan = dicom_plan(self.headers)
        taking = Taking(finding.files, self.headers, self.store, self.keys, self.options.digest)
        self._account(plan, taking)
        self._read(plan.units, taking)
        self._annotate(plan.annotations)
        self._save(Rows(self.archives))
        return _summary(self.root, self.records, len(finding.same))

    def _index(self) -> None:
        """Headers of the DICOM files to read, and of all others of their series.

        Read again is also what was read together with a file that changed or went, a header whose other half may have
        come, and every DICOMDIR.
        """
        finding = self.finding
        fresh = [path for path, file in finding.files.items() if path not in finding.same and file.kind == "dicom"]
        self._read_headers(fresh)
        self._wait_for_whole_series(fresh)
        touched = {record.series for path, record in self.known.items() if path not in finding.same}
        touched |= {uid_digest(header.get("series_uid", "")) for header in self.headers.values()}
        touched.discard(None)
        again = {
            path for path in finding.same if self.known[path].kind == "image" and self.known[path].series in touched
        }
        self.again = sorted(again | finding.companions() | finding.directories())
        finding.read_again(self.again)
        # What annotates is applied anew whenever something changed, so its bytes must be at hand.
        marks = [path for path in finding.same if self.known[path].kind == "annotation"]
        finding.reach(marks)
        dicom = [path for path in [*self.again, *marks] if finding.files[path].kind == "dicom"]
        self._read_headers(dicom)

    def _wait_for_whole_series(self, fresh: list[str]) -> None:
        """Hold back what is of one series with a file that still arrives: half of it would pass for a smaller scan."""
        finding = self.finding
        arriving = {path: str(file.location) for path, file in finding.arriving.items() if file.kind == "dicom"}
        if not arriving:
            return
        headers = read_headers(arriving, self.decoders).values()
        waiting = {uid_digest(header.get("series_uid", "")) for header in headers}
        waiting |= {self.known[path].series for path in arriving if path in self.known}
        waiting.discard(None)
        held = [path for path in fresh if uid_digest(self.headers[path].get("series_uid", "")) in waiting]
        finding.hold_back(held)
        for path in held:
            del self.headers[path]

    def _read_headers(self, paths: list[str]) -> None:
        at = {path: str(self.finding.files[path].location) for path in sorted(paths)}
        for path, header in read_headers(at, self.decoders).items():
            self.headers[path] = {**header, "instance": uid_digest(header.get("instance_uid", ""))}
        if paths:
            self.progress(len(self.headers), len(self.headers), "headers")

    def _forget(self) -> None:
        # Annotation files are forgotten until they are applied, and what is to be read again until it is: a run that is
        # killed in between leaves nothing that looks done.
        waiting = [path for path, record in self.known.items() if record.kind == "annotation"]
        forgotten = [*self.finding.gone, *self.again, *waiting]
        holders = {str(holder) for path in forgotten for holder in Path(path).parents}
        archives = {path: self.known[path] for path in holders & self.known.keys() & self.finding.files.keys()}
        self.archives += [archives[path] for path in sorted(archives) if path in self.finding.same]
        self.catalog.forget([*forgotten, *archives])

    def _account(self, plan: DicomPlan, taking: Taking) -> None:
        """Rows of everything that is no scan and no annotation."""
        finding, opened = self.finding, self.finding.opened
        rows = [taking.refused(refusal) for refusal in plan.refusals]
        rows += directory_rows(plan.directories, finding, taking, self.decoders)
        for path, file in finding.files.items():
            if path in finding.same or path in self.headers:
                continue
            if path in opened.refused:
                kind = "archive" if file.kind == "archive" else "other"
                rows.append(taking.row(path, kind, "quarantined", opened.refused[path]))  # type: ignore[arg-type]
            elif file.kind == "archive":
                reason = f"an archive of {opened.counts[path]} files"
                self.archives.append(taking.row(path, "archive", "ingested", reason))
            elif file.kind == "other":
                rows.append(taking.row(path, "other", "ignored", file.reason))
            elif file.kind == "unreadable":
                rows.append(taking.unread(path, file.reason))
        self._save(Rows(rows))

    def _read(self, dicom: list[Unit], taking: Taking) -> None:
        finding = self.finding
        fresh = [file for path, file in finding.files.items() if path not in finding.same and is_image(file)]
        units, refusals = image_units(fresh, finding.files)
        units = [*dicom, *units]
        waiting = Rows([taking.refused(refusal) for refusal in refusals])
        options = asdict(self.options)
        at = finding.at
        requests = (unit.request(str(self.store.incoming()), at, options) for unit in units)
        replies = self.decoders.run(requests)
        saved = time.monotonic()
        for number, (unit, (_, reply)) in enumerate(zip(units, replies, strict=True), start=1):
            waiting.add(taking.take(unit, reply))
            if len(waiting.files) >= _SAVE_FILES or time.monotonic() - saved >= _SAVE_SECONDS:
                self._save(waiting)
                waiting, saved = Rows(), time.monotonic()
            self.progress(number, len(units), "scans")
        self._save(waiting)

    def _annotate(self, dicom: dict[str, str]) -> None:
        # Archives may share volumes: what one says of them must not be decided on what another is just changing.
        with self.one_at_a_time:
            self._annotate_alone(dicom)

    def _annotate_alone(self, dicom: dict[str, str]) -> None:
        outcome = annotate(
            found=self.finding.files,
            known=self.known,
            records=self.records,
            before=self.catalog.annotations(self.root),
            store=self.store,
            keys=self.keys,
            decoders=self.decoders,
            progress=self.progress,
            dicom=dicom,
            reader=self.options.digest,
            reach=self.finding.reach,
        )
        described = [volume_record(self.store.get(one), self.store) for one in outcome.described]
        self._save(Rows(list(outcome.files), described), outcome.annotations, outcome.withdrawn)

    def _save(
        self, rows: Rows, annotations: tuple[AnnotationRecord, ...] = (), withdrawn: tuple[str, ...] = ()
    ) -> None:
        self.records.update({record.path: record for record in rows.files})
        self.catalog.save(rows.files, rows.volumes, annotations, withdrawn)
