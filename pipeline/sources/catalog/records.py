"""What the catalog keeps of a file, a volume and its annotations. Paths are absolute and may name patients."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Outcome = Literal["ingested", "ignored", "quarantined"]
ItemKind = Literal["image", "annotation", "archive", "directory", "other"]
OUTCOMES: tuple[Outcome, ...] = ("ingested", "ignored", "quarantined")


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file. ``path`` is relative to the folder that was asked about."""

    path: str
    outcome: Outcome
    reason: str
    volume_ids: tuple[str, ...]
    kind: ItemKind


@dataclass(frozen=True)
class FileRecord:
    """One file as it was last read.

    ``reader`` names the reader with its options (`ReadOptions.digest`); ``digest`` is the SHA-256 of the file's bytes,
    where they were at hand; ``series`` and ``instance`` are digests of UIDs. ``volume_ids`` are the volumes that an
    image became, or that an annotation file annotates.
    """

    path: str
    size: int
    mtime_ns: int
    reader: str
    kind: ItemKind
    outcome: Outcome
    reason: str = ""
    digest: str | None = None
    series: str | None = None
    instance: str | None = None
    volume_ids: tuple[str, ...] = ()

    def relative_to(self, root: Path | None) -> FileOutcome:
        """The outcome, by path relative to ``root`` (the file's name where ``root`` is the file itself)."""
        return FileOutcome(self._below(root), self.outcome, self.reason, self.volume_ids, self.kind)

    def _below(self, root: Path | None) -> str:
        if root is None:
            return self.path
        base = str(root).rstrip("/")  # text: a Path a file would be most of what a second ingest costs
        if self.path == base:
            return root.name
        if not self.path.startswith(base + "/"):
            raise ValueError("the file does not lie below the folder")
        return self.path[len(base) + 1 :]


@dataclass(frozen=True)
class VolumeRecord:
    """One volume of a store, as listings show it.

    ``store`` is the store's folder, ``patient_key`` a keyed hash, ``study`` and ``series`` digests; ``shape`` and
    ``spacing`` run along ``(i, j[, k])``, the spacing in ``unit``. ``part`` tells the volume from the others of its
    series or file.
    """

    volume_id: str
    store: str
    patient_key: str
    study: str | None
    series: str | None
    modality: str
    part: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    channels: int
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AnnotationRecord:
    """Who annotates a volume: the file at ``path``, ``objects`` in number, by label in ``labels``."""

    volume_id: str
    path: str
    format: str
    objects: int
    labels: dict[str, int] = field(default_factory=dict)
    from_points: bool = False


def readable(path: str) -> str:
    """A path as text that can be written anywhere: bytes that are no UTF-8 are shown as ``\\\\udcff``."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
