"""What a decoder read → volumes in the store and rows for the catalog."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.sources.catalog import FileRecord, ItemKind, Outcome, VolumeRecord
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.patients import PatientKeys
from pipeline.sources.units import Refusal, Unit
from pipeline.sources.walk import FoundFile
from pipeline.volumes import Volume
from pipeline.volumes.arrays import WrittenArray
from pipeline.volumes.read import grid_from_json
from pipeline.volumes.store import VolumeStore

_COPY = "holds the same slice as another file"
_UNTOLD = "it is in no volume, and its reader does not say why: please report this"


@dataclass
class Rows:
    """Rows that are to be saved together."""

    files: list[FileRecord] = field(default_factory=list)
    volumes: list[VolumeRecord] = field(default_factory=list)

    def add(self, other: "Rows") -> None:
        self.files += other.files
        self.volumes += other.volumes


class Taking:
    """Turns replies into rows.

    Args:
        files: the archive's files by catalog path.
        headers: DICOM headers by catalog path.
        reader: the reader with its options.
    """

    def __init__(
        self,
        files: dict[str, FoundFile],
        headers: dict[str, dict[str, Any]],
        store: VolumeStore,
        keys: PatientKeys,
        reader: str,
    ) -> None:
        self._files, self._headers, self._store, self._keys, self._reader = files, headers, store, keys, reader
        self._path_at = {str(file.location): path for path, file in files.items()}

    def take(self, unit: Unit, reply: Reply) -> Rows:
        """Put the scans of one unit into the store; every file of the unit has a row."""
        if "error" in reply:
            return Rows([self._of(unit, path, "quarantined", self._blame(path, unit, reply)) for path in unit.paths])
        volumes = [self._put(unit, scan) for scan in reply["scans"]]
        files = self._taken(unit, reply["scans"])
        for refused in reply["refused"]:
            for path in self._paths(refused["files"]):
                files[path] = self._refused_in_part(unit, path, refused, files.get(path))
        for scan in reply["scans"]:
            for path in self._paths(scan["copies"]):
                files.setdefault(path, self._of(unit, path, "ignored", _COPY))
        for path in set(unit.paths) - set(files):
            files[path] = self._of(unit, path, "quarantined", _UNTOLD)
        return Rows([files[path] for path in sorted(files)], volumes)

    def _taken(self, unit: Unit, scans: list[dict[str, Any]]) -> dict[str, FileRecord]:
        """Rows of the files that the scans were read from; a file may hold several volumes."""
        became: dict[str, dict[str, None]] = defaultdict(dict)
        notes: dict[str, dict[str, None]] = defaultdict(dict)
        digests: dict[str, str] = {}
        for scan in scans:
            digests.update({self._path_at[where]: digest for where, digest in scan["digests"].items()})
            for path in self._paths(scan["files"]):
                became[path][scan["volume_id"]] = None
                notes[path].update(dict.fromkeys([*scan["notes"], *([unit.note] if unit.note else [])]))
        return {
            path: self._of(unit, path, "ingested", "; ".join(notes[path]), tuple(volume_ids), digests.get(path))
            for path, volume_ids in became.items()
        }

    def _refused_in_part(self, unit: Unit, path: str, refused: dict[str, Any], taken: FileRecord | None) -> FileRecord:
        """A file of which other volumes were taken keeps them, and is told as not taken whole."""
        if taken is None:
            return self._of(unit, path, refused["outcome"], refused["reason"])
        if refused["outcome"] == "ignored":
            return taken
        reason = f"{len(taken.volume_ids)} volume(s) of it are taken, not all: {refused['reason']}"
        return replace(taken, outcome="quarantined", reason=reason)

    def _paths(self, locations: list[str]) -> list[str]:
        return [self._path_at[where] for where in locations]

    def refused(self, refusal: Refusal) -> FileRecord:
        return self.row(refusal.path, "image", refusal.outcome, refusal.reason, series=refusal.series)

    def unread(self, path: str, reason: str) -> FileRecord:
        """A file that could not be opened. No reader read it, so that the next run tries again."""
        return replace(self.row(path, "other", "quarantined", reason), reader="")

    def row(self, path: str, kind: ItemKind, outcome: Outcome, reason: str, **more: Any) -> FileRecord:
        file = self._files[path]
        return FileRecord(path, file.size, file.mtime_ns, self._reader, kind, outcome, reason, **more)

    def _of(
        self,
        unit: Unit,
        path: str,
        outcome: Outcome,
        reason: str,
        volume_ids: tuple[str, ...] = (),
        digest: str | None = None,
    ) -> FileRecord:
        instance = self._headers.get(path, {}).get("instance")
        more = {"digest": digest, "series": unit.series, "instance": instance, "volume_ids": volume_ids}
        return self.row(path, "image", outcome, reason, **more)

    def _put(self, unit: Unit, scan: dict[str, Any]) -> VolumeRecord:
        volume = self._store.put(
            image=WrittenArray.from_json(scan["image"]),
            grid=grid_from_json(scan["grid"]),
            patient_key=self._keys.key(scan["patient_id"]) if scan["patient_id"] else None,
            modality=scan["modality"],
            attributes={**scan["attributes"], "part": scan["part"]},
            study=unit.study,
            series=unit.series,
        )
        return volume_record(volume, self._store)

    def _blame(self, path: str, unit: Unit, reply: Reply) -> str:
        """The reason for one file of a unit: the broken one's own, or that its series is not whole."""
        broken = reply.get("path")
        if broken is None or self._path_at.get(broken) == path:
            return str(reply["message"])
        return f"its series is not whole: 1 of {len(unit.paths)} files cannot be read"


def volume_record(volume: Volume, store: VolumeStore) -> VolumeRecord:
    """A volume as the catalog lists it."""
    return VolumeRecord(
        volume_id=volume.volume_id,
        store=str(store.root),
        patient_key=volume.patient_key,
        study=volume.study,
        series=volume.series,
        modality=volume.modality,
        part=volume.attributes.get("part", ""),
        shape=volume.grid.shape,
        spacing=tuple(float(step) for step in volume.grid.spacing),
        unit=volume.grid.unit,
        channels=volume.channels,
        attributes=volume.attributes,
    )
