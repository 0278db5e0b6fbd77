"""Results of detection → the files that people and other programs read."""

import json
import re
import secrets
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from pipeline.detections import Detections
from pipeline.detections.coco import to_coco
from pipeline.detections.geojson import write_geojson
from pipeline.detections.label_tiff import write_label_tiff
from pipeline.detections.markups import to_markups
from pipeline.detections.table import OUTLINE, columns, from_frame, to_frame
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, SourceError
from pipeline.progress import Progress
from pipeline.reporting.overlay import overlay_png
from pipeline.reporting.overview import needs_overview, overview_png
from pipeline.stages.dicom_out import DICOM_FORMATS, DicomFormat, DicomOut
from pipeline.volumes import Volume

_SUMMARY, _BEGUN, _TABLE = "summary.json", ".begun.json", "detections.parquet"
# All that an export writes for one scan; nothing else is ever removed, whatever a manifest says.
_OURS = re.compile(
    r"(?:geojson/[\w-]+\.geojson|overlays/[\w-]+\.png|labels/[\w-]+\.tif|slicer/[\w-]+\.mrk\.json|dicom/[\w-]+\.dcm)"
)
_ALWAYS = {"geojson": "geojson/{}.geojson", "overlays": "overlays/{}.png", "labels": "labels/{}.tif"}
_DICOM: dict[str, str] = {name: f"dicom/{{}}-{name.removeprefix('dicom-')}.dcm" for name in DICOM_FORMATS}
_SLICER, _COCO = "slicer", "coco"
_OF_SCANS = {**_ALWAYS, _SLICER: "slicer/{}.mrk.json", **_DICOM}
# What is written where it is asked for, beside what is written always.
FORMATS = (_COCO, _SLICER, *DICOM_FORMATS)


@dataclass(frozen=True)
class Exported:
    """``counts``: volume id → detections at or above the version's threshold.

    ``refused``: why a scan has no file of a format, by ``volume id: format``; where its result cannot be read, it has
    none at all (``volume id: result``) and no count.
    """

    folder: Path
    counts: dict[str, int]
    formats: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)

    def only(self, volume_ids: Container[str]) -> "Exported":
        """What it holds of these scans."""
        counts = {one: count for one, count in self.counts.items() if one in volume_ids}
        refused = {key: reason for key, reason in self.refused.items() if key.partition(": ")[0] in counts}
        return Exported(self.folder, counts, self.formats, refused)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write ``summary.json``, the last file of an export; ``files`` in it are those of single scans."""
        files = sorted(name for name in _files(self.counts, self.formats) if (self.folder / name).is_file())
        whole = {**summary, "formats": list(self.formats), "refused": self.refused, "files": files}
        _write(self.folder / _SUMMARY, json.dumps(whole, indent=1).encode())
        (self.folder / _BEGUN).unlink(missing_ok=True)


def check_formats(formats: Sequence[str]) -> None:
    """Raise `ConfigError` for a format that there is not."""
    wrong = [name for name in formats if name not in FORMATS]
    if wrong:
        raise ConfigError(f"a format must be one of {', '.join(FORMATS)}, got {wrong[0]!r}")


def export(
    volumes: Sequence[Volume],
    results: Mapping[str, Path],
    bundle: Bundle,
    model: str,
    out: Path,
    progress: Progress | None = None,
    formats: Sequence[str] = (),
    dicom: DicomOut | None = None,
    stay: Exported | None = None,
) -> Exported:
    """Write tables, GeoJSON and overlays of what is at or above the version's threshold; label maps of outlines.

    Args:
        volumes: in the order of the tables.
        results: volume id → Parquet file of every detection; volumes without one are left out.
        bundle: the version's.
        model: names it; files that another model left in ``out`` are replaced.
        out: folder; files of an earlier export are replaced, each whole, and removed where they are of scans that
            are no longer in the result. Files that no export wrote stay.
        progress: called after each volume.
        formats: of `FORMATS`, what else is written. Files of formats that are not asked for again are removed.
        dicom: makes DICOM objects; needed for their formats.
        stay: of what `exported_before` gave, the scans that stay as they are; they come first in the tables.
    """
    out.mkdir(parents=True, exist_ok=True)
    stamp = _stamp(out, model)
    stay = stay or Exported(out, {})
    frames, counts = [pd.DataFrame(columns=columns()), *_rows_of(stay.counts, out)], dict(stay.counts)
    ready = [volume for volume in volumes if volume.volume_id in results and volume.volume_id not in counts]
    _leave_only(_files([*counts, *(volume.volume_id for volume in ready)], formats), out)
    refused = dict(stay.refused)
    documents: list[tuple[Volume, Detections]] = []
    for n, volume in enumerate(ready):
        result = results[volume.volume_id]
        try:
            detections = _read(result, volume, bundle)
        except SourceError as error:
            refused[f"{volume.volume_id}: result"] = str(error)
            _remove(_files([volume.volume_id], formats), out)
            continue
        counts[volume.volume_id] = len(detections)
        if len(detections):
            frames.append(to_frame(detections))
        refused |= _export_one(volume, detections, (result, stamp), bundle, out)
        refused |= _export_more(volume, detections, (result, stamp), formats, dicom, out)
        if _COCO in formats:
            documents.append((volume, detections))
        if progress:
            progress(n + 1, len(ready), "writing results")
    table = pd.concat(frames[1:], ignore_index=True) if len(frames) > 1 else frames[0]
    _write(out / "detections.csv", table.to_csv(index=False).encode())
    _write(out / _TABLE, table.to_parquet(index=False))
    (out / "detections.coco.json").unlink(missing_ok=True)
    if _COCO in formats:
        _write(out / "detections.coco.json", json.dumps(to_coco(documents, bundle.classes)).encode())
    return Exported(out, counts, tuple(formats), refused)


def exported_before(out: Path, model: str, formats: Sequence[str] = ()) -> Exported | None:
    """What an export of this model and these formats left in ``out``.

    `None` where the last export was another one or was not finished, or wrote one document of all scans, which has to
    be written anew.
    """
    stamp = out / ".model"
    if _COCO in formats or (out / _BEGUN).is_file() or not stamp.is_file() or not (out / _TABLE).is_file():
        return None
    try:
        summary = json.loads((out / _SUMMARY).read_text(encoding="utf-8"))
        if stamp.read_text(encoding="utf-8") != model or summary["formats"] != list(formats):
            return None
        counts = {str(scan["volume_id"]): int(scan["detections"]) for scan in summary["scans"]}
        return Exported(out, counts, tuple(formats), summary["refused"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def _read(result: Path, volume: Volume, bundle: Bundle) -> Detections:
    """What is at or above the threshold.

    Raises:
        SourceError: the file is damaged, or cannot be read this time.
    """
    try:
        frame = pd.read_parquet(result)
        return from_frame(frame, volume.volume_id, volume.grid, bundle.classes).above(bundle.threshold)
    except (OSError, ValueError, LookupError) as error:
        raise SourceError(
            f"its result cannot be read ({type(error).__name__}): see that {result} can be, or remove that file and "
            "run the same again, which detects on the scan anew"
        ) from error


def _rows_of(stay: Mapping[str, int], out: Path) -> list[pd.DataFrame]:
    """The rows of these scans in the table that is there."""
    if not any(stay.values()):
        return []
    table = pd.read_parquet(out / _TABLE)
    rows = table[table["volume_id"].isin(stay)]
    if OUTLINE in rows:
        rows = rows.assign(**{OUTLINE: [corners.tolist() for corners in rows[OUTLINE]]})
    return [rows]


def _files(volume_ids: Iterable[str], formats: Sequence[str] = ()) -> set[str]:
    """What an export may write for single scans, relative to its folder."""
    names = [name for kind, name in _OF_SCANS.items() if kind in _ALWAYS or kind in formats]
    return {name.format(one) for one in volume_ids for name in names}


def _leave_only(wanted: set[str], out: Path) -> None:
    """Remove what former exports wrote for other scans; known from their summaries, or from how they began."""
    former = _manifest(out / _SUMMARY) | _manifest(out / _BEGUN)
    # An export that is killed leaves no summary: the next one learns here what it may have written.
    _write(out / _BEGUN, json.dumps({"files": sorted(former | wanted)}).encode())
    _remove(former - wanted, out)


def _remove(names: Iterable[str], out: Path) -> None:
    for name in names:
        (out / name).unlink(missing_ok=True)


def _manifest(path: Path) -> set[str]:
    """The files that an export noted; none where the file is not of an export."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return set()
    files = noted.get("files") if isinstance(noted, dict) else None
    return {str(name) for name in files if _OURS.fullmatch(str(name))} if isinstance(files, list) else set()


def _stamp(out: Path, model: str) -> Path:
    """A file that is as old as the folder's use for this model: what another model left is older, and replaced."""
    path = out / ".model"
    if not path.is_file() or path.read_text(encoding="utf-8") != model:
        _write(path, model.encode())
    return path


def _export_one(
    volume: Volume, detections: Detections, sources: tuple[Path, Path], bundle: Bundle, out: Path
) -> dict[str, str]:
    """Write what is always written; why the overlay was not, as `_export_more` tells it."""
    geojson = out / "geojson" / f"{volume.volume_id}.geojson"
    overlay = out / "overlays" / f"{volume.volume_id}.png"
    labels = out / "labels" / f"{volume.volume_id}.tif"
    made = (geojson, overlay) if detections.outlines is None else (labels, geojson, overlay)
    if all(_newer(one, source) for one in made for source in sources):
        return {}
    if detections.outlines is None:
        labels.unlink(missing_ok=True)
    else:
        _write_by(labels, lambda part: write_label_tiff(part, detections))
    _write_by(geojson, lambda part: write_geojson(part, detections))
    overlay.unlink(missing_ok=True)
    try:
        picture = _overlay(volume, detections, bundle)
    except SourceError as error:  # damaged since it was detected on
        return {f"{volume.volume_id}: overlays": str(error)}
    _write(overlay, picture)
    return {}


def _overlay(volume: Volume, detections: Detections, bundle: Bundle) -> bytes:
    intensity = bundle.config.preprocessing.intensity
    if needs_overview(volume.grid.shape):
        return overview_png(volume.array, detections, bundle.threshold, intensity)
    return overlay_png(volume.array[...], None, detections, bundle.threshold, intensity=intensity)


def _export_more(
    volume: Volume,
    detections: Detections,
    sources: tuple[Path, Path],
    formats: Sequence[str],
    dicom: DicomOut | None,
    out: Path,
) -> dict[str, str]:
    """Write what was asked for; why it was not written, by ``volume id: format``."""
    refused = {}
    for name in (one for one in _OF_SCANS if one in formats):
        path = out / _OF_SCANS[name].format(volume.volume_id)
        if all(_newer(path, source) for source in sources):
            continue
        path.unlink(missing_ok=True)
        try:
            content = to_markups(detections) if name == _SLICER else _object(name, volume, detections, dicom)
        except SourceError as error:
            refused[f"{volume.volume_id}: {name}"] = str(error)
        else:
            if content is not None:
                _write(path, content)
    return refused


def _object(name: str, volume: Volume, detections: Detections, dicom: DicomOut | None) -> bytes | None:
    assert dicom is not None, "DICOM formats need somebody who makes them"
    return dicom.make(cast(DicomFormat, name), volume, detections)


def _newer(made: Path, source: Path) -> bool:
    return made.is_file() and made.stat().st_mtime_ns > source.stat().st_mtime_ns


def _write(path: Path, content: bytes) -> None:
    """The whole file or none."""
    _write_by(path, lambda part: part.write_bytes(content))


def _write_by(path: Path, write: Callable[[Path], object]) -> None:
    """As `_write`; ``write`` is given where to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # process ids are the same in all containers
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
