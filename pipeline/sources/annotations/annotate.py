"""Annotation files → annotations in the store, each file with its own outcome."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import AnnotationError, CellscanError
from pipeline.geometry import Boxes
from pipeline.sources.annotations import objects
from pipeline.sources.annotations.label_maps import LabelledObjects
from pipeline.sources.annotations.layouts import image_of, label_rule
from pipeline.sources.annotations.references import Images, MissingImage
from pipeline.sources.annotations.tables import Table, description, read_table
from pipeline.sources.catalog import FileRecord, Outcome
from pipeline.sources.decoding.child import error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.identifiers import uid_digest
from pipeline.sources.patients import PatientKeys
from pipeline.sources.walk import FoundFile
from pipeline.volumes.read import grid_from_json
from pipeline.volumes.store import VolumeStore

Progress = Callable[[int, int, str], None]
_Rows = list[dict[str, Any]]
_GENERIC_LABEL = "object"
_UNKNOWN_TABLE = "a table that is none of the annotation formats"


@dataclass
class _Tally:
    """How the entries of one table fared."""

    used: int = 0
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def outcome(self, record: FileRecord) -> FileRecord:
        total = self.used + len(self.wrong) + len(self.missing)
        left_out = [*self.wrong, *self.missing]
        if not left_out:
            return replace(record, outcome="ingested", reason="")
        reason = f"{len(left_out)} of {total} entries not used, the others were: {left_out[0]}"
        return replace(record, outcome="quarantined" if self.wrong else "ingested", reason=reason)


def annotate(
    found: dict[str, FoundFile],
    known: dict[str, FileRecord],
    records: dict[str, FileRecord],
    store: VolumeStore,
    keys: PatientKeys,
    decoders: Decoders,
    progress: Progress,
) -> list[FileRecord]:
    """Apply every annotation file of an archive.

    Args:
        found: the archive's files by absolute path.
        known: the catalog's rows before this run.
        records: the rows of this run's images, and of what is unchanged.
        store: holds the images' volumes already.
        keys: for patient ids from an index.
        decoders: for label maps.
        progress: told of each label map.

    Returns:
        Rows of the annotation files, and changed rows of images (who annotates them).
    """
    stage = _Stage(found, known, records, store, keys)
    stage.read_tables()
    stage.describe()
    stage.apply_label_maps(decoders, progress)
    stage.apply_tables()
    return stage.close()


class _Stage:
    def __init__(
        self,
        found: dict[str, FoundFile],
        known: dict[str, FileRecord],
        records: dict[str, FileRecord],
        store: VolumeStore,
        keys: PatientKeys,
    ) -> None:
        self.found, self.known, self.before, self.store, self.keys = found, known, records, store, keys
        self.images = Images(records.values())
        self.tables: list[Table] = []
        self.out: dict[str, FileRecord] = {}
        self.tallies: dict[str, _Tally] = {}
        self.owner: dict[str, str] = {}
        self.applied: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.classes: dict[str, dict[int, str]] = {}
        # A label map is read again when it, its image, or any table changed.
        self.tables_same = all(path in records for path, file in found.items() if file.kind == "table") and not any(
            path not in found and record.kind == "annotation" for path, record in known.items()
        )

    def read_tables(self) -> None:
        for path, file in self.found.items():
            if file.kind != "table":
                continue
            try:
                table = read_table(file.location)
            except (AnnotationError, OSError) as error:
                reason = str(error) if isinstance(error, AnnotationError) else "the table cannot be opened"
                self._note(path, "quarantined", reason)
                continue
            self._note(path, "ignored" if table is None else "ingested", _UNKNOWN_TABLE if table is None else "")
            if table is not None:
                self.tables.append(table)
                self.tallies[path] = _Tally()

    def describe(self) -> None:
        """What indexes and class tables say, before any object is named."""
        for table, volume_id, rows in self._entries("index"):
            self._attempt(table, self._describe, volume_id, rows)
        for table, volume_id, rows in self._entries("label_classes"):
            self._attempt(table, self._class_values, volume_id, rows)

    def apply_label_maps(self, decoders: Decoders, progress: Progress) -> None:
        jobs = [job for path, file in self.found.items() if (job := self._label_job(path, file)) is not None]
        for number, (job, reply) in enumerate(decoders.run(jobs), start=1):
            try:
                self._apply_label_map(job, reply)
            except CellscanError as error:
                self._note(job["paths"][0], "quarantined", str(error))
                Path(job["out"]).unlink(missing_ok=True)
            progress(number, len(jobs), "label maps")

    def apply_tables(self) -> None:
        for table, volume_id, rows in self._entries("centres"):
            self._attempt(table, self._apply_centres, volume_id, rows)
        for table, volume_id, rows in self._entries("boxes"):
            self._attempt(table, self._apply_boxes, volume_id, rows)

    def close(self) -> list[FileRecord]:
        """Withdraw what this archive's files said before and do not say any more; hand over the rows."""
        for path, tally in self.tallies.items():
            self.out[path] = tally.outcome(self.out[path])
        for record in self.images.records:
            by = self.applied.get(record.volume_id or "")
            if by == record.annotated_by:
                continue
            if by is None:
                if record.annotated_by not in self.found and record.annotated_by not in self.known:
                    continue  # another archive's file annotates it
                if record.volume_id is not None:
                    self.store.annotate(record.volume_id, None)
            self.out[record.path] = replace(record, annotated_by=by)
        return list(self.out.values())

    def _entries(self, kind: str) -> Iterator[tuple[Table, str, _Rows]]:
        """Each entry whose image is there; the others are counted."""
        for table in self.tables:
            if table.kind != kind:
                continue
            tally = self.tallies[table.path]
            for number, ((key, reference), rows) in enumerate(table.entries.items(), start=1):
                try:
                    yield table, self._volume(table, key, reference), rows
                except MissingImage as error:
                    tally.missing.append(f"entry {number}: {error}")
                except AnnotationError as error:
                    # An index lists more than is there by nature; objects on an image that is not there do not.
                    (tally.missing if kind == "index" else tally.wrong).append(f"entry {number}: {error}")

    def _volume(self, table: Table, key: str, reference: str) -> str:
        if key == "series_instance_uid":
            return self.images.of_series(uid_digest(reference) or "")
        return self.images.of_reference(reference, table.base)

    def _attempt(self, table: Table, action: Callable[[Table, str, _Rows], None], volume_id: str, rows: _Rows) -> None:
        tally = self.tallies[table.path]
        try:
            action(table, volume_id, rows)
        except AnnotationError as error:
            tally.wrong.append(str(error))
        else:
            tally.used += 1

    def _describe(self, _: Table, volume_id: str, rows: _Rows) -> None:
        what = description(rows[0])
        volume = self.store.describe(
            volume_id,
            patient_key=None if what.patient_id is None else self.keys.key(what.patient_id),
            subset=what.subset,
            attributes=what.attributes,
        )
        if what.modality is not None and volume.attributes.get("format") != "dicom":
            self.store.describe(volume_id, modality=what.modality)
        if what.label is not None:
            self.labels[volume_id] = what.label

    def _class_values(self, _: Table, volume_id: str, rows: _Rows) -> None:
        self.classes[volume_id] = objects.label_classes(rows)

    def _label_job(self, path: str, file: FoundFile) -> dict[str, Any] | None:
        """The job that reads one label map; `None` where the file is none, or its outcome is known already."""
        rule = label_rule(path) if file.kind in ("nifti", "picture") else None
        if rule is None:
            return None
        try:
            volume_id = image_of(path, self.images)
            self._own(volume_id, path)
        except MissingImage as error:
            self._note(path, "ignored", str(error))
            return None
        except AnnotationError as error:
            self._note(path, "quarantined", str(error))
            return None
        if self._is_applied(path, volume_id):
            self.out[path] = self.known[path]
            self.applied[volume_id] = path
            return None
        out = str(self.store.incoming())
        return {"job": "label_map", "paths": [path], "rule": rule, "kind": file.kind, "out": out, "volume": volume_id}

    def _is_applied(self, path: str, volume_id: str) -> bool:
        return (
            self.tables_same
            and path in self.before
            and self.before[path].volume_id == volume_id
            and any(r.volume_id == volume_id and r.annotated_by == path for r in self.images.of_volume(volume_id))
        )

    def _apply_label_map(self, job: dict[str, Any], reply: Reply) -> None:
        error = error_of(reply)
        if error is not None:
            raise error
        path, volume_id = job["paths"][0], job["volume"]
        own = grid_from_json(reply["grid"])
        lower, upper = (np.array(reply[f"{e}_voxel"], dtype=float).reshape(-1, own.dims) for e in ("lower", "upper"))
        boxes = Boxes(lower, upper, own)
        labelled = LabelledObjects(boxes, np.array(reply["values"], dtype=np.int64))
        generic = "lesion" if job["rule"] == "lesions" else _GENERIC_LABEL
        label = self.labels.get(volume_id, generic)
        grid = self.store.get(volume_id).grid
        annotations = objects.from_label_map(labelled, grid, label, self.classes.get(volume_id))
        self.store.annotate(volume_id, annotations, Path(job["out"]))
        self.applied[volume_id] = path
        self._note(path, "ingested", "", volume_id)

    def _apply_centres(self, table: Table, volume_id: str, rows: _Rows) -> None:
        self._own(volume_id, table.path)
        self.store.annotate(volume_id, objects.from_centres(rows, self.store.get(volume_id).grid))
        self.applied[volume_id] = table.path

    def _apply_boxes(self, table: Table, volume_id: str, rows: _Rows) -> None:
        if len(rows) > 1:
            raise AnnotationError(f"one scan is listed {len(rows)} times")
        self._own(volume_id, table.path)
        self.store.annotate(volume_id, objects.from_boxes(rows[0], self.store.get(volume_id).grid))
        self.applied[volume_id] = table.path

    def _own(self, volume_id: str, path: str) -> None:
        if self.owner.setdefault(volume_id, path) != path:
            raise AnnotationError("its image is annotated by another file already")

    def _note(self, path: str, outcome: Outcome, reason: str, volume_id: str | None = None) -> None:
        file = self.found[path]
        self.out[path] = FileRecord(path, file.size, file.mtime_ns, 0, "annotation", outcome, reason, volume_id)
