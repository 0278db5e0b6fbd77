"""Why a version found what it found in one scan: saliency, feature maps, the translation test."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.errors import DatasetError
from pipeline.explanation.detection import ExplainedDetection, explain_detection
from pipeline.explanation.features import seen_window
from pipeline.explanation.scan import NetworkScan
from pipeline.explanation.translation import TranslationReport, translation_of_scan
from pipeline.inference.detect import VolumeDetector
from pipeline.progress import Progress
from pipeline.reporting.saliency import explained_png
from pipeline.reporting.translation import translation_png
from pipeline.settings import Settings
from pipeline.sources.options import ReadOptions
from pipeline.sources.read import read_scans
from pipeline.sources.scan import LoadedScan
from pipeline.stages.detect import unsuited
from pipeline.stages.pictures import features_png, known
from pipeline.tracking.registry import resolve

_PARTS = ("reading the scan", "detecting", "saliency", "feature maps", "shifting the input")


@dataclass(frozen=True, eq=False)
class Explained:
    """``detections`` reach the version's threshold. ``chosen`` says which detection was explained: ``number`` (1 =
    highest score), ``score``, ``label``, ``centre_world`` in ``unit``. Where the scan has none it is empty and
    ``detection`` is ``None``. ``files`` lie in ``out``.
    """

    model: str
    volume_id: str
    out: Path
    detections: int
    chosen: dict[str, object]
    detection: ExplainedDetection | None
    translation: TranslationReport
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        detection = self.chosen | (self.detection.to_json() if self.detection else {})
        return {
            "model": self.model,
            "volume_id": self.volume_id,
            "out": str(self.out),
            "detections": self.detections,
            "detection": known(detection) if detection else None,
            "translation": known(self.translation.to_json()),
            "files": list(self.files),
        }


def explain_version(
    version: str, path: Path, out: Path, settings: Settings, number: int = 1, progress: Progress | None = None
) -> Explained:
    """Explain one detection of a registered version in one scan.

    ``out`` gets ``saliency.png`` and ``sanity.png`` (where there is a detection), ``feature_maps.png``,
    ``translation.png`` and ``explanation.json``. Nothing is taken into the catalog.

    Args:
        version: ``name/3`` or ``name@champion``.
        path: a file or a folder that holds one scan which the version reads.
        out: folder; files of the same names are replaced.
        settings: where things are.
        number: which detection, 1 having the highest score; those below the version's threshold count too.
        progress: called before each part.

    Raises:
        ModelError: there is no such version.
        SourceError: no scan is at ``path``, or it is broken.
        DatasetError: the version does not read the scan, there are several, or it has fewer detections.
    """

    def begin(part: int) -> None:
        if progress:
            progress(part, len(_PARTS), _PARTS[part])

    record = resolve(settings, version)
    bundle = Bundle.load(record.bundle_folder)
    begin(0)
    loaded = _one_scan(bundle.config.data, path, settings)
    image = np.asarray(loaded.image[...])
    begin(1)
    detector = VolumeDetector(bundle.plain, settings.device)
    found = detector.detect(image, loaded.grid, loaded.volume_id)
    _check_number(number, len(found))
    scan = NetworkScan.of(image, loaded.grid, bundle.config)
    index, detection = number - 1, None
    pictures: dict[str, bytes] = {}
    begin(2)
    if len(found):
        detection = explain_detection(detector.network, bundle.config, scan, found, index)
        config = bundle.config
        drawn = explained_png(image, found, index, detection, config.data, config.preprocessing.intensity)
        pictures |= {f"{name}.png": png for name, png in drawn.items()}
    begin(3)
    centres = scan.boxes(found.boxes).centres
    point = centres[index] if len(found) else (np.array(scan.grid.shape) - 1) / 2
    seen = seen_window(detector.network, bundle.config, scan, point.tolist())
    pictures["feature_maps.png"] = features_png(seen)
    begin(4)
    counted = found.scores >= bundle.threshold
    translation = translation_of_scan(detector, scan, centres[counted])
    pictures["translation.png"] = translation_png(translation)
    explained = Explained(
        record.spec,
        loaded.volume_id,
        out,
        int(counted.sum()),
        _chosen(found, index),
        detection,
        translation,
        (*sorted(pictures), "explanation.json"),
    )
    for name, content in pictures.items():
        _write(out / name, content)
    _write(out / "explanation.json", json.dumps(explained.to_json(), indent=1).encode())
    return explained


def _one_scan(data: DataConfig, path: Path, settings: Settings) -> LoadedScan:
    scans = read_scans(path, options=ReadOptions(tilt=settings.gantry_tilt))
    reasons = [unsuited(data, scan.grid.dims, scan.modality) for scan in scans]
    fit = [scan for scan, reason in zip(scans, reasons, strict=True) if not reason]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        raise DatasetError(f"nothing to explain: {'; '.join(dict.fromkeys(reasons))}")
    raise DatasetError(f"one scan is explained at a time, there are {len(fit)}: name the file or folder of one")


def _check_number(number: int, detections: int) -> None:
    if number < 1 or number > max(detections, 1):
        raise DatasetError(f"the scan has {detections} detections: choose one of 1 … {detections}, got {number}")


def _chosen(found: Detections, index: int) -> dict[str, object]:
    if not len(found):
        return {}
    return {
        "number": index + 1,
        "score": float(found.scores[index]),
        "label": found.label_names[index],
        "centre_world": found.boxes.centres_world[index].tolist(),
        "unit": found.boxes.grid.unit,
    }


def _write(path: Path, content: bytes) -> None:
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
