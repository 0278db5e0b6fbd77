"""Pictures of a version: its figures, what its network sees, and how steady it is."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.evaluation import Evaluation
from pipeline.explanation.features import SeenWindow, seen_window
from pipeline.explanation.scan import NetworkScan
from pipeline.explanation.translation import TranslationReport
from pipeline.reporting.display import flips
from pipeline.reporting.features import feature_maps
from pipeline.reporting.figures import save_figures
from pipeline.reporting.translation import translation_png
from pipeline.tracking.run import TrackedRun

TRANSLATION = "explanation/translation.json"


def seen_by_network(bundle: Bundle, case: Case) -> bytes:
    """Feature maps, from the finest resolution to the coarsest, of the window about the case's largest object, as PNG.

    A case without an object is shown about its middle.
    """
    scan = NetworkScan.of(case.array, case.grid, bundle.config)
    boxes = scan.boxes(case.annotations.boxes)
    point = (np.array(scan.grid.shape) - 1) / 2
    if len(boxes):
        point = boxes.centres[int(np.argmax(boxes.sizes.prod(axis=1)))]
    return features_png(seen_window(bundle.network, bundle.config, scan, point.tolist()))


def features_png(seen: SeenWindow) -> bytes:
    """The stages of a window, each with its stride and its receptive field, as PNG; slices as radiologists see them."""
    turned = (slice(None), *(slice(None, None, -1 if backwards else 1) for backwards in flips(seen.grid)))
    maps = {stage.caption: stage.maps[turned] for stage in seen.stages}
    fields = {stage.caption: stage.receptive_field[:2] for stage in seen.stages}
    return feature_maps(maps, seen.image[turned], fields)


def metrics_picture(evaluation: Evaluation) -> bytes:
    """Every figure with its interval, as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        return save_figures(evaluation, Path(folder))[0].read_bytes()


def log_pictures(run: TrackedRun, bundle: Bundle, case: Case) -> None:
    run.log_image("figures/feature_maps.png", seen_by_network(bundle, case))


def log_translation(run: TrackedRun, report: TranslationReport) -> None:
    """The translation test's figures as metrics, its curve as picture and as ``explanation/translation.json``."""
    run.log_metrics(report.metrics())
    run.log_json(TRANSLATION, {name: known(value) for name, value in report.to_json().items()})
    run.log_image("figures/translation.png", translation_png(report))


def known(value: object) -> object:
    """The value as JSON takes it, which has no NaN: a figure that does not exist is null."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [known(one) for one in value]
    if isinstance(value, dict):
        return {name: known(one) for name, one in value.items()}
    return None if isinstance(value, float) and value != value else value
