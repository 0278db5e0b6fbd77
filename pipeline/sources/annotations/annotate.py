"""Annotation files → annotations in the store, each file with its own outcome.

First the tables that describe images, then label maps, then DICOM objects, then all other files of marks, each kind in
the order of paths: the first file to annotate a volume keeps it, and the others are told so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import AnnotationError, CellscanError
from pipeline.sources.annotations.applying import Application
from pipeline.sources.annotations.describing import Descriptions
from pipeline.sources.annotations.formats import LABEL_MAP, TABLES, dicom_format
from pipeline.sources.annotations.layouts import header_of, image_of, label_rule
from pipeline.sources.annotations.marks import MarkSet
from pipeline.sources.annotations.read import Contents, contents, discard
from pipeline.sources.annotations.references import Images, MissingImage
from pipeline.sources.annotations.tally import Tally, used_all
from pipeline.sources.catalog import AnnotationRecord, FileRecord, Outcome
from pipeline.sources.decoding.child import error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Job, Reply
from pipeline.sources.patients import PatientKeys
from pipeline.sources.walk import FoundFile
from pipeline.volumes.store import VolumeStore

Progress = Callable[[int, int, str], None]

_GENERIC_LABEL, _LESION = "object", "lesion"
_UNKNOWN_FORMAT = "none of the annotation formats"
_NOTHING_HERE = "it marks nothing on an image"
_RASTERS = ("nifti", "nrrd", "picture", "tiff")


@dataclass(frozen=True)
class AnnotationOutcome:
    """Rows of the annotation files and of who annotates which volume; volumes that nobody annotates any more; volumes
    whose records an index changed."""

    files: tuple[FileRecord, ...]
    annotations: tuple[AnnotationRecord, ...]
    withdrawn: tuple[str, ...]
    described: tuple[str, ...]


def annotate(
    found: dict[str, FoundFile],
    known: dict[str, FileRecord],
    records: dict[str, FileRecord],
    before: dict[str, AnnotationRecord],
    store: VolumeStore,
    keys: PatientKeys,
    decoders: Decoders,
    progress: Progress,
    dicom: dict[str, str] | None = None,
    reader: str = "",
    reach: Callable[[Iterable[str]], None] = lambda paths: None,
) -> AnnotationOutcome:
    """Apply every annotation file of an archive.

    Args:
        found: the archive's files by catalog path.
        known: the catalog's rows before this run.
        records: the rows of this run's images, and of what is unchanged.
        before: who annotates the volumes of this archive so far, by volume id.
        store: holds the images' volumes already.
        keys: for patient ids from an index.
        decoders: read the files.
        progress: told of each file.
        dicom: SOP class of each DICOM object that annotates, by catalog path.
        reader: put down in the rows.
        reach: makes the bytes of files in unopened archive files readable, and ``found`` say where.

    An unchanged label map or DICOM object that was used whole is not read again while no table of classes changed.
    """
    stage = _Stage(found, known, records, before, store, keys, decoders, progress, reader, reach)
    waiting = stage.read_tables()
    stage.apply_label_maps()
    stage.apply_dicom(dicom or {})
    stage.apply_marks(waiting)
    return stage.close()


class _Stage:
    def __init__(
        self,
        found: dict[str, FoundFile],
        known: dict[str, FileRecord],
        records: dict[str, FileRecord],
        before: dict[str, AnnotationRecord],
        store: VolumeStore,
        keys: PatientKeys,
        decoders: Decoders,
        progress: Progress,
        reader: str,
        reach: Callable[[Iterable[str]], None],
    ) -> None:
        self.found, self.known, self.before, self.store = found, known, before, store
        self.decoders, self.progress, self.reader, self.reach = decoders, progress, reader, reach
        self.unchanged = {path: row for path, row in records.items() if row.kind == "annotation" and path in found}
        self.images = Images(records.values())
        self.descriptions = Descriptions(self.images, store, keys)
        elsewhere = frozenset(one for one, record in before.items() if self._is_elsewhere(record) and _is_there(record))
        self.application = Application(self.images, store, self.descriptions, elsewhere=elsewhere)
        self.out: dict[str, FileRecord] = {}
        self.tables_same = True

    def read_tables(self) -> list[tuple[str, Job, Reply]]:
        """Read all text files and apply those that describe images; the others are given back."""
        paths = [path for path, file in self.found.items() if file.kind == "table"]
        waiting, tables = [], set()
        for path, job, reply in self._read((path, self._job(path, "")) for path in paths):
            if reply.get("format") in TABLES:
                tables.add(path)
                self._take_table(path, reply)
            else:
                waiting.append((path, job, reply))
        gone = [row for path, row in self.known.items() if row.kind == "annotation" and path not in self.unchanged]
        # A file that annotated no volume may have been a table.
        self.tables_same = tables <= set(self.unchanged) and all(row.volume_ids for row in gone)
        return waiting

    def apply_label_maps(self) -> None:
        rules = {
            path: rule for path, file in self.found.items() if file.kind in _RASTERS and (rule := label_rule(path))
        }
        images = {path: volumes for path in rules if (volumes := self._image_of(path))}
        wanted = Counter(volume for volumes in images.values() for volume in volumes)
        for path, volumes in images.items():
            # Where two want one image, both are read again: what becomes of them must not depend on who came first.
            if self._is_settled(path, volumes) and all(wanted[volume] == 1 for volume in volumes):
                self._keep(path)
        halves = {path: header for path in images if (header := header_of(path)) in self.found}
        jobs = [
            (path, self._job(path, LABEL_MAP + rules[path]))
            for path in images
            if path not in self.out and path not in halves
        ]
        for path, job, reply in self._read(jobs):
            self._take(path, job, reply, _LESION if rules[path] == "lesions" else _GENERIC_LABEL)
        for path, header in halves.items():
            if header in self.out:
                self._note(path, self.out[header].outcome, self.out[header].reason)

    def apply_dicom(self, sop_classes: dict[str, str]) -> None:
        formats = {path: dicom_format(sop_class) for path, sop_class in sorted(sop_classes.items())}
        settled = {path for path in formats if self._is_settled(path)}
        jobs = [(path, self._job(path, name)) for path, name in formats.items() if name and path not in settled]
        replies = self._read(jobs)
        for path, name in formats.items():
            if name is None:
                self._note(path, "ignored", _UNKNOWN_FORMAT)
            elif path not in settled:
                self._take(*next(replies), _GENERIC_LABEL)
            elif any(self.application.is_taken(volume, path) for volume in self.unchanged[path].volume_ids):
                (once_more,) = self._read([(path, self._job(path, name))])
                self._take(*once_more, _GENERIC_LABEL)
            else:
                self._keep(path)

    def apply_marks(self, waiting: list[tuple[str, Job, Reply]]) -> None:
        for path, job, reply in waiting:
            self._take(path, job, reply, _GENERIC_LABEL)

    def close(self) -> AnnotationOutcome:
        """Withdraw what this archive's files said before and do not say any more; hand over the rows."""
        annotated, withdrawn = self.application.annotated, []
        for volume_id, record in self.before.items():
            if volume_id in annotated:
                continue
            if not self._is_elsewhere(record) or not _is_there(record):
                if self.store.has(volume_id):
                    self.store.annotate(volume_id, None)
                withdrawn.append(volume_id)
        changed = tuple(row for volume_id, row in annotated.items() if self.before.get(volume_id) != row)
        return AnnotationOutcome(tuple(self.out.values()), changed, tuple(withdrawn), tuple(self.descriptions.changed))

    def _is_elsewhere(self, record: AnnotationRecord) -> bool:
        """Whether a file of another archive annotates a volume."""
        return record.path not in self.found and record.path not in self.known

    def _image_of(self, path: str) -> tuple[str, ...]:
        """The volumes that a label map may be of; none, and a note, where its image is not there."""
        try:
            return image_of(path, self.images)
        except MissingImage as error:
            self._note(path, "ignored", str(error))
        except AnnotationError as error:
            self._note(path, "quarantined", str(error))
        return ()

    def _is_settled(self, path: str, volumes: tuple[str, ...] | None = None) -> bool:
        """Whether what an unchanged file said is in the store, whole, and of ``volumes``."""
        row = self.unchanged.get(path)
        if row is None or not self.tables_same or not used_all(row.outcome, row.reason) or not row.volume_ids:
            return False
        mine = all(one in self.before and self.before[one].path == path for one in row.volume_ids)
        return mine and all(map(self.images.has, row.volume_ids)) and volumes in (None, row.volume_ids)

    def _keep(self, path: str) -> None:
        self.out[path] = self.unchanged[path]
        for volume_id in self.unchanged[path].volume_ids:
            self.application.keep(self.before[volume_id])

    def _job(self, path: str, name: str) -> Job:
        out = str(self.store.incoming().with_suffix(""))
        return {"job": "annotations", "paths": [str(self.found[path].location)], "format": name, "out": out}

    def _read(self, jobs: Iterable[tuple[str, Job]]) -> Iterator[tuple[str, Job, Reply]]:
        listed = list(jobs)
        replies = self.decoders.run(job for _, job in listed)
        for number, ((path, job), (_, reply)) in enumerate(zip(listed, replies, strict=True), start=1):
            self.progress(number, len(listed), "annotation files")
            yield path, job, reply

    def _take_table(self, path: str, reply: Reply) -> None:
        tally, said = Tally(), contents(reply)
        assert said.table is not None
        self.descriptions.take(path, said.table, tally)
        self._note(path, *tally.outcome(), said.digest)

    def _take(self, path: str, job: Job, reply: Reply, generic: str) -> None:
        """Apply what one file says, and note what became of it."""
        tally = Tally()
        try:
            said, reply = self._contents(path, job, reply)
            if said.sets:
                self.application.take(path, said, tally, generic)
                self._note(path, *tally.outcome(), said.digest, tuple(tally.volumes), tally.again)
            else:
                self._note(path, "ignored", _NOTHING_HERE if said.format else _UNKNOWN_FORMAT, said.digest)
        except CellscanError as error:
            self._note(path, "quarantined", str(error))
        finally:
            discard(reply)

    def _contents(self, path: str, job: Job, reply: Reply) -> tuple[Contents, Reply]:
        """What the reply says. Marks on single slices are read once more, with the images that say where they lie."""
        said = _said(reply)
        on_slices = [one for one in said.sets if isinstance(one, MarkSet) and one.frame == "frame_px"]
        if not on_slices:
            return said, reply
        discard(reply)
        named = self.images.at_instances({name for one in on_slices for name in one.reference.instances})
        self.reach([image for image in named.values() if image in self.found])
        images = {name: str(self.found[image].location) for name, image in named.items() if image in self.found}
        ((_, _, again),) = self._read([(path, {**job, "images": images})])
        return _said(again), again

    def _note(
        self,
        path: str,
        outcome: Outcome,
        reason: str,
        digest: str | None = None,
        volume_ids: tuple[str, ...] = (),
        again: bool = False,
    ) -> None:
        file = self.found[path]
        reader = "" if again else self.reader
        self.out[path] = FileRecord(
            path, file.size, file.mtime_ns, reader, "annotation", outcome, reason, digest, volume_ids=volume_ids
        )


def _is_there(record: AnnotationRecord) -> bool:
    """Whether the annotating file exists, itself or the archive file that holds it."""
    path = Path(record.path)
    return path.exists() or any(folder.is_file() for folder in path.parents)


def _said(reply: Reply) -> Contents:
    error = error_of(reply)
    if error is not None:
        raise error
    return contents(reply)
