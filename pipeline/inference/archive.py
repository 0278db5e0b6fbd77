"""Detect on many volumes, each once, whatever happens in between."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from pipeline.detections.table import to_frame
from pipeline.errors import CellscanError
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.ledger import Ledger
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.volumes import Volume


@dataclass(frozen=True)
class ArchiveSummary:
    """``results`` maps volume id → Parquet file, ``quarantined`` volume id → reason.

    ``unfinished`` maps volume id → why it has no result yet: another worker is on it, or it failed for a reason that
    may pass and the next run tries it again.
    """

    results: dict[str, Path]
    quarantined: dict[str, str]
    unfinished: dict[str, str]
    detected_now: int
    done_before: int


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
        progress: called after each volume.
    """
    folder = settings.detections / _as_folder(model)
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(settings.catalog_url, model)
    try:
        done_before = _pending_only(ledger, volumes, folder)
        detected = 0
        for n, volume in enumerate(volumes):
            if ledger.claim(volume.volume_id):
                _detect_one(detector, volume, folder, ledger)
                detected += 1
            if progress:
                progress(n + 1, len(volumes), "detecting")
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
        detected_now=detected,
        done_before=done_before,
    )


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


def _detect_one(detector: VolumeDetector, volume: Volume, folder: Path, ledger: Ledger) -> None:
    """One volume that cannot be read or does not fit in memory must not end the night's run."""
    try:
        detections = detector.detect(volume.array[...], volume.grid, volume.volume_id)
        _write(_result(folder, volume.volume_id), to_frame(detections))
    except (CellscanError, ValueError) as error:
        ledger.quarantine(volume.volume_id, f"{type(error).__name__}: {error}")
    except torch.AcceleratorError:
        ledger.reopen(volume.volume_id)
        raise  # the device is gone for this process: every further volume would fail
    except (RuntimeError, OSError, MemoryError) as error:
        ledger.give_back(volume.volume_id, f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        ledger.reopen(volume.volume_id)
        raise
    else:
        ledger.finish(volume.volume_id, len(detections))


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
