"""A registered version on an archive of scans."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.config.data import DataConfig
from pipeline.detectors.bundle import Bundle
from pipeline.inference.archive import ArchiveSummary, DetectionRun, begin_run, end_run, work
from pipeline.inference.detect import VolumeDetector
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.ingest import IngestSummary
from pipeline.stages.dicom_out import DICOM_FORMATS, DicomOut
from pipeline.stages.experiment import volumes_below
from pipeline.stages.export import Exported, check_formats, export
from pipeline.stages.ingest import archive_place, ingest_archive
from pipeline.stages.levels import nearest_levels, without_pixel_size
from pipeline.stages.out_folder import check_out, try_out
from pipeline.tracking.registry import DIGEST_TAG, VersionRecord, resolve
from pipeline.volumes import Volume


@dataclass(frozen=True)
class DetectSummary:
    """What became of an archive.

    ``scans`` has one entry a scan that was detected on: ``volume_id``, ``name``, ``path`` (relative to the archive),
    ``detections``. ``quarantined`` maps file or scan to the reason; ``unsuited`` maps a scan to why this version does
    not read it; ``levels`` maps a level of a slide to why another one was taken; ``unfinished`` maps a scan to why it
    has no result yet. ``threshold``: detections below it are not exported. ``not_written``: why a scan has no file of a
    format, by ``name: format``, or none at all, by ``name: result``. ``windows`` of all ``scans``, ``windows_skipped``
    those that were background and not given to the network.
    """

    model: str
    threshold: float
    out: Path
    scans: tuple[dict[str, object], ...]
    detections: int
    detected_now: int
    done_before: int
    quarantined: dict[str, str]
    unsuited: dict[str, str]
    unfinished: dict[str, str]
    not_written: dict[str, str] = field(default_factory=dict)
    windows: int = 0
    windows_skipped: int = 0
    levels: dict[str, str] = field(default_factory=dict)

    def fullest_overlay(self) -> Path | None:
        """The picture of the scan with most detections."""
        drawn = [scan for scan in self.scans if self._overlay(scan).is_file()]
        return self._overlay(max(drawn, key=lambda scan: int(str(scan["detections"])))) if drawn else None

    def _overlay(self, scan: dict[str, object]) -> Path:
        return self.out / "overlays" / f"{scan['volume_id']}.png"

    def to_json(self) -> dict[str, object]:
        return {
            "model": self.model,
            "threshold": self.threshold,
            "out": str(self.out),
            "counts": {
                "scans": len(self.scans),
                "detections": self.detections,
                "detected_now": self.detected_now,
                "done_before": self.done_before,
                "quarantined": len(self.quarantined),
                "unsuited": len(self.unsuited),
                "levels": len(self.levels),
                "unfinished": len(self.unfinished),
                "windows": self.windows,
                "windows_skipped": self.windows_skipped,
            },
            "scans": list(self.scans),
            "quarantined": self.quarantined,
            "unsuited": self.unsuited,
            "levels": self.levels,
            "unfinished": self.unfinished,
            "not_written": self.not_written,
        }


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that is known before the first scan is looked at; ``unsuited`` and ``levels`` as in `DetectSummary`."""

    record: VersionRecord
    bundle: Bundle
    ingested: IngestSummary
    volumes: tuple[Volume, ...]
    unsuited: dict[str, str]
    levels: dict[str, str]
    run: DetectionRun


HandOut = Callable[[Prepared], None]
"""Has the run of what was prepared done, by whomever; it returns when nothing of it is left."""


def detect_archive(
    version: str,
    archive: Path | str,
    out: Path,
    settings: Settings,
    progress: Progress | None = None,
    formats: Sequence[str] = (),
    only_failed: bool = False,
    hand_out: HandOut | None = None,
) -> DetectSummary:
    """Detect on every scan of ``archive`` (as `ingest_archive` takes it) and write ``out``.

    ``out`` gets ``detections.csv`` and ``detections.parquet`` (columns of `pipeline.detections.table`),
    ``geojson/<volume>.geojson``, ``overlays/<volume>.png`` and ``summary.json``; from a version with outlines
    also label maps ``labels/<volume>.tif``. ``formats`` (of `pipeline.stages.export.FORMATS`) are written, too: DICOM
    objects below ``dicom/`` hold what their scan's header says of the patient. A scan that this
    version has done is not done again, so that a run that was killed continues. With ``only_failed`` no scan is
    detected on but those that failed before, quarantined or not. ``hand_out`` has the scans done; by default they are
    done here, in as many processes as ``settings.runner`` says.

    Raises:
        ModelError: there is no such version, or a worker failed.
        SourceError: there is nothing at ``archive``.
        ConfigError: there is no such format; ``out`` lies in ``archive``.
        StoreError: ``out``, or the home folder, cannot be written.
    """
    check_formats(formats)
    check_out(out, archive_place(archive, settings), settings.home)
    try_out(out)
    prepared = prepare_detection(version, archive, settings, progress, only_failed)
    if hand_out is None:
        detect_here(prepared, settings, progress)
    else:
        hand_out(prepared)
    return finish_detection(prepared, out, settings, progress, formats)


def prepare_detection(
    version: str, archive: Path | str, settings: Settings, progress: Progress | None = None, only_failed: bool = False
) -> Prepared:
    """Ingest what is new, and enter in the ledger what is to be done."""
    record = resolve(settings, version)
    bundle = Bundle.load(record.bundle_folder)
    ingested = ingest_archive(archive, settings, progress)
    volumes, left_out = suited(bundle.config, volumes_below(ingested.root, settings))
    volumes, levels = nearest_levels(bundle.config, volumes)
    ids = [volume.volume_id for volume in volumes]
    run = begin_run(model_of(record), bundle.config.digest(), ids, settings, only_failed)
    return Prepared(record, bundle, ingested, tuple(volumes), left_out, levels, run)


def detect_here(prepared: Prepared, settings: Settings, progress: Progress | None = None) -> None:
    """Detect in this process, or in as many as ``settings.runner`` says."""
    with prepared.run.ledger(settings) as ledger:
        open_ones = ledger.open(prepared.run.wanted, prepared.run.began).count
    workers = min(settings.runner.workers, open_ones)
    if not workers:
        return
    if workers > 1:
        from pipeline.stages.detect_team import detect_in_processes

        folder = prepared.record.bundle_folder
        detect_in_processes(folder, prepared.run, settings, workers, progress)
        return
    by_id = {volume.volume_id: volume for volume in prepared.volumes}
    detector = VolumeDetector(prepared.bundle, settings.device, compile_network=settings.compile)
    work(detector, prepared.run, by_id.__getitem__, settings, progress)


def finish_detection(
    prepared: Prepared, out: Path, settings: Settings, progress: Progress | None = None, formats: Sequence[str] = ()
) -> DetectSummary:
    """Write ``out``, of what is done."""
    record, bundle, volumes = prepared.record, prepared.bundle, prepared.volumes
    done = end_run(prepared.run, settings)
    with DicomOut(record, settings) if set(formats) & set(DICOM_FORMATS) else nullcontext() as dicom:
        exported = export(volumes, done.results, bundle, model_of(record), out, progress, formats, dicom)
    summary = _summary(prepared, out, done, exported)
    exported.write_summary(summary.to_json())
    return summary


def model_of(record: VersionRecord) -> str:
    """The version's name in the ledger."""
    return f"{record.spec}-{record.tags[DIGEST_TAG][:8]}"


def suited(config: ExperimentConfig, volumes: Sequence[Volume]) -> tuple[list[Volume], dict[str, str]]:
    """The volumes that an experiment's network reads, and why it does not read the others."""
    reasons = {
        volume.volume_id: unsuited(config.data, volume.grid.dims, volume.modality) or without_pixel_size(config, volume)
        for volume in volumes
    }
    fit = [volume for volume in volumes if not reasons[volume.volume_id]]
    return fit, {volume.name: reasons[volume.volume_id] for volume in volumes if reasons[volume.volume_id]}


def unsuited(data: DataConfig, dims: int, modality: str) -> str:
    """Why a version whose experiment has ``data`` does not read a scan; empty if it does."""
    if dims != data.dims:
        return f"the version reads {data.dims}D scans, this is {dims}D"
    if data.modalities and modality not in data.modalities:
        return f"the version reads modality {', '.join(data.modalities)}, this is {modality}"
    return ""


def _summary(prepared: Prepared, out: Path, done: ArchiveSummary, exported: Exported) -> DetectSummary:
    ingested, volumes = prepared.ingested, prepared.volumes
    paths: dict[str, str] = {}
    for file in ingested.files:
        for volume_id in file.volume_ids if file.kind == "image" else ():
            paths.setdefault(volume_id, file.path)
    scans = tuple(
        {"volume_id": v.volume_id, "name": v.name, "path": paths.get(v.volume_id, ""), "detections": count}
        for v in volumes
        if (count := exported.counts.get(v.volume_id)) is not None
    )
    names = {volume.volume_id: volume.name for volume in volumes}
    quarantined = {file.path: file.reason for file in ingested.files if file.outcome == "quarantined"}
    quarantined |= {names[volume_id]: reason for volume_id, reason in done.quarantined.items()}
    return DetectSummary(
        model=prepared.record.spec,
        threshold=prepared.bundle.threshold,
        out=out,
        scans=scans,
        detections=sum(exported.counts.values()),
        detected_now=done.detected_now,
        done_before=done.done_before,
        quarantined=quarantined,
        unsuited=prepared.unsuited,
        unfinished={names[volume_id]: reason for volume_id, reason in done.unfinished.items()},
        not_written={
            f"{names[key.partition(': ')[0]]}: {key.partition(': ')[2]}": reason
            for key, reason in exported.refused.items()
        },
        windows=done.windows,
        windows_skipped=done.background,
        levels=prepared.levels,
    )
