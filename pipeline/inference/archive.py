"""Detect on many volumes, each once, whatever happens in between."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.detections import Detections
from pipeline.detections.table import to_frame
from pipeline.errors import CellscanError
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.engine import Engine, Tally
from pipeline.inference.ledger import Ledger
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.volumes import Volume


@dataclass(frozen=True)
class ArchiveSummary:
    """``results`` maps volume id → Parquet file, ``quarantined`` volume id → reason.

    ``unfinished`` maps volume id → why it has no result yet: another worker is on it, or it failed for a reason that
    may pass and the next run tries it again. ``seen`` are the windows of what was detected on now.
    """

    results: dict[str, Path]
    quarantined: dict[str, str]
    unfinished: dict[str, str]
    detected_now: int
    done_before: int
    seen: Tally


def detect_volumes(
    detector: VolumeDetector,
    model: str,
    volumes: Sequence[Volume],
    settings: Settings,
    progress: Progress | None = None,
) -> ArchiveSummary:
    """Detect on every volume that this model has not done yet.

    Args:
        detector: ready to detect.
        model: names the version and the digest of its bundle; results of one model are kept together.
        volumes: of one dimension, the detector's.
        settings: where the ledger and the results are.
        progress: called as volumes are ended.
    """
    folder = settings.detections / _as_folder(model)
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(settings.catalog_url, model)
    try:
        done_before = _pending_only(ledger, volumes, folder)
        before = ledger.rows([volume.volume_id for volume in volumes])
        tried = {v: row.attempts > 0 for v, row in before.items() if row.status == "pending"}
        pending = [volume for volume in volumes if volume.volume_id in tried]
        settled = len(volumes) - len(pending)

        def tell(ended: int) -> None:
            if progress:
                progress(settled + ended, len(volumes), "detecting")

        tally = Engine(detector).run(lambda _: _claimed(pending, tried, folder, ledger), tell)
        rows = ledger.rows([volume.volume_id for volume in volumes])
    finally:
        ledger.close()
    return ArchiveSummary(
        results={v: _result(folder, v) for v, row in rows.items() if row.status == "done"},
        quarantined={v: row.reason for v, row in rows.items() if row.status == "quarantined"},
        unfinished={
            v: row.reason if row.status == "pending" else "another worker is on it"
            for v, row in rows.items()
            if row.status in ("pending", "running")
        },
        detected_now=tally.scans,
        done_before=done_before,
        seen=tally,
    )


@dataclass(frozen=True, eq=False)
class _Claim:
    """A claimed volume, as `pipeline.inference.job.Job`."""

    claimed: Volume
    alone: bool
    folder: Path
    ledger: Ledger

    def volume(self) -> Volume:
        return self.claimed

    def finish(self, detections: Detections) -> None:
        _write(_result(self.folder, self.claimed.volume_id), to_frame(detections))
        self.ledger.finish(self.claimed.volume_id, len(detections))

    def fail(self, error: Exception) -> None:
        """Bad input stays bad; what the machine lacked, it may have another time."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, CellscanError | ValueError):
            self.ledger.quarantine(self.claimed.volume_id, reason)
        else:
            self.ledger.give_back(self.claimed.volume_id, reason)

    def release(self) -> None:
        self.ledger.reopen(self.claimed.volume_id)


def _claimed(volumes: Sequence[Volume], tried: dict[str, bool], folder: Path, ledger: Ledger) -> Iterator[_Claim]:
    for volume in volumes:
        if ledger.claim(volume.volume_id):
            yield _Claim(volume, tried[volume.volume_id], folder, ledger)


def _pending_only(ledger: Ledger, volumes: Sequence[Volume], folder: Path) -> int:
    """Bring the ledger in line with what is on disk; how many volumes need nothing."""
    ids = [volume.volume_id for volume in volumes]
    ledger.enter(ids)
    ledger.release_dead()
    done = [v for v, row in ledger.rows(ids).items() if row.status == "done"]
    lost = [v for v in done if not _result(folder, v).is_file()]
    for volume_id in lost:
        ledger.reopen(volume_id)
    return len(done) - len(lost)


def _write(path: Path, frame: pd.DataFrame) -> None:
    """The whole file or none: a kill between result and ledger only means that it is written again, the same."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        frame.to_parquet(part, index=False)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).replace(path)


def _result(folder: Path, volume_id: str) -> Path:
    return folder / f"{volume_id}.parquet"


def _as_folder(model: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in model)
