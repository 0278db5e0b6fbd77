"""Detect on many volumes, each once, whatever happens in between, by any number of workers."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.detections import Detections
from pipeline.detections.table import write_table
from pipeline.errors import CellscanError, ConfigError, StoreError
from pipeline.inference.claims import claims
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.engine import Engine, Tally
from pipeline.inference.ledger import Claim, Ledger
from pipeline.progress import Progress, paced
from pipeline.settings import Settings
from pipeline.volumes import Volume


@dataclass(frozen=True)
class DetectionRun:
    """What the workers of one run do together; it may be sent to another process.

    ``volume_ids`` are all volumes that were asked for, ``wanted`` those that are to be done now where they are open;
    ``began`` is by the ledger's clock.
    """

    name: str
    model: str
    config: str
    volume_ids: tuple[str, ...]
    wanted: tuple[str, ...]
    began: float
    done_before: int

    def ledger(self, settings: Settings) -> Ledger:
        """A worker's own."""
        return Ledger.of(settings, self.model, self.config)


@dataclass(frozen=True)
class ArchiveSummary:
    """``results`` maps volume id → Parquet file, ``quarantined`` volume id → reason.

    ``unfinished`` maps volume id → why it has no result yet: another worker is on it, or it failed for a reason that
    may pass and the next run tries it again. Of the ``windows`` of all that has a result, ``background`` were not given
    to the network.
    """

    results: dict[str, Path]
    quarantined: dict[str, str]
    unfinished: dict[str, str]
    detected_now: int
    done_before: int
    windows: int
    background: int


def detect_volumes(
    detector: VolumeDetector,
    model: str,
    volumes: Sequence[Volume],
    settings: Settings,
    progress: Progress | None = None,
) -> ArchiveSummary:
    """Detect on every volume that this model has not done yet, as the only worker of a run.

    Args:
        detector: ready to detect.
        model: names the version and the digest of its bundle; results of one model are kept together.
        volumes: of one dimension, the detector's.
        settings: where the ledger and the results are.
        progress: called after each volume.
    """
    by_id = {volume.volume_id: volume for volume in volumes}
    run = begin_run(model, detector.config.digest(), tuple(by_id), settings)
    work(detector, run, by_id.__getitem__, settings, progress)
    return end_run(run, settings)


def begin_run(
    model: str, config: str, volume_ids: Sequence[str], settings: Settings, only_failed: bool = False
) -> DetectionRun:
    """Bring the ledger in line with what is on disk.

    Args:
        model: names the version and the digest of its bundle.
        config: digest of its experiment.
        volume_ids: what is to be detected on.
        settings: where the ledger and the results are.
        only_failed: try again what failed and was quarantined, and nothing else.
    """
    with Ledger.of(settings, model, config) as ledger:
        ledger.enter(volume_ids)
        ledger.expire_dead()
        rows = ledger.rows(volume_ids)
        lost = {v for v, row in rows.items() if row.state == "done" and not row.result.is_file()}
        ledger.reopen(lost)
        wanted = tuple(volume_ids)
        if only_failed:
            wanted = tuple(v for v, row in rows.items() if row.failures and row.state != "claimed")
            ledger.retry(wanted)
        done = sum(row.state == "done" for row in rows.values()) - len(lost)
        return DetectionRun(secrets.token_hex(8), model, config, tuple(volume_ids), wanted, ledger.time(), done)


def work(
    detector: VolumeDetector,
    run: DetectionRun,
    volume_of: Callable[[str], Volume],
    settings: Settings,
    progress: Progress | None = None,
) -> Tally:
    """Detect, as one of the run's workers, until nothing is left.

    Args:
        detector: of the run's model.
        run: by `begin_run`.
        volume_of: finds a volume by its id; called from several threads.
        settings: where the ledger and the results are.
        progress: called at the beginning and as volumes are ended, as if this were the only worker.

    Returns:
        What this worker did.

    Raises:
        ConfigError: the ledger is not that of the run.
        StoreError: results cannot be written; that counts against no volume.
    """
    total = len(run.wanted)
    tell = paced(progress) if progress else None
    with run.ledger(settings) as ledger:
        if run.wanted and not ledger.rows(run.wanted[:1]):
            raise ConfigError(
                "this worker sees another ledger than the one in which the run was begun: set CELLSCAN_HOME and "
                "CELLSCAN_CATALOG_URL alike on all machines"
            )
        before = total - ledger.open(run.wanted, run.began).count

        def jobs(wait: Callable[[], None]) -> Iterator[_Job]:
            for claim in claims(ledger, run.wanted, run.began, wait, lambda: ledger.is_cancelled(run.name)):
                yield _Job(claim, volume_of)

        def ended(count: int, partly: float) -> None:
            if tell:
                tell(min(before + count, total), total, "detecting", partly)

        ended(0, 0.0)
        return Engine(detector).run(jobs, ended)


def end_run(run: DetectionRun, settings: Settings) -> ArchiveSummary:
    """What became of each volume."""
    with run.ledger(settings) as ledger:
        rows = ledger.rows(run.volume_ids)
    done = [row for row in rows.values() if row.state == "done"]
    results = {row.volume_id: row.result for row in done}
    return ArchiveSummary(
        results=results,
        quarantined={v: row.reason for v, row in rows.items() if row.state == "quarantined"},
        unfinished={
            v: "another worker is on it" if row.state == "claimed" else row.reason or "not tried in this run"
            for v, row in rows.items()
            if row.state in ("pending", "claimed")
        },
        detected_now=max(len(results) - run.done_before, 0),
        done_before=run.done_before,
        windows=sum(row.windows for row in done),
        background=sum(row.background for row in done),
    )


@dataclass(frozen=True, eq=False)
class _Job:
    """A claimed volume, as `pipeline.inference.job.Job`."""

    claim: Claim
    volume_of: Callable[[str], Volume]

    @property
    def alone(self) -> bool:
        return self.claim.failures > 0

    def volume(self) -> Volume:
        return self.volume_of(self.claim.volume_id)

    def finish(self, detections: Detections, windows: int, background: int) -> None:
        try:
            write_table(detections, self.claim.part)
            self.claim.finish(len(detections), windows, background)
        except OSError as error:
            raise StoreError(
                f"results cannot be written to {self.claim.part.parent} ({error.strerror or error}): make space there, "
                "or let it be written, and run the same again; what is done is kept"
            ) from error

    def fail(self, error: Exception) -> None:
        """Bad input stays bad; what the machine lacked, it may have another time."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, CellscanError | ValueError):
            self.claim.fail(reason)
        else:
            self.claim.give_back(reason)

    def release(self) -> None:
        self.claim.release()
