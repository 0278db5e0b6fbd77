"""Versions of ``cells`` whose evaluations are made by hand."""

from pathlib import Path

import numpy as np

from pipeline.config import ExperimentConfig
from pipeline.detections import Detections
from pipeline.evaluation import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.settings import Settings
from pipeline.tracking import registry
from pipeline.tracking.session import connect
from pipeline.volumes import Annotations

_GRID = Grid.of_pixels((1000, 100))
PATIENTS = 6


def cells_config(**changes):
    return ExperimentConfig.model_validate(
        {
            "name": "cells",
            "data": {"source": "cells", "dims": 2, "classes": ["cell"]},
            "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 255}},
            "sampling": {"patch": [32, 32], "samples_per_epoch": 4},
            "detector": {
                "backbone": {"kind": "residual_unet", "widths": [4, 8], "strides": [2]},
                "decoder_width": 4,
            },
            "training": {"max_epochs": 1},
            "inference": {"window": [48, 48]},
            "evaluation": {
                "match": {"kind": "centre_distance", "distance": 6},
                "bootstrap_rounds": 100,
                "strata": [],
            }
            | changes,
        }
    )


def cells_case(patient, found):
    """Ten cells in a column, the first ``found`` of which are detected; one fewer in every third patient, one more in
    another third: so many are found in the mean."""
    found = min(10, max(0, found + patient % 3 - 1)) if found else 0
    places = Boxes.around(np.stack([np.arange(50.0, 1000, 100), np.full(10, 50.0)], 1), np.full(2, 10.0), _GRID)
    annotations = Annotations(places, ("cell",) * 10, np.zeros(10, dtype=bool), False)
    scores, labels = np.full(found, 0.9), np.zeros(found, dtype=np.int64)
    detections = Detections(f"{patient:016x}", places[np.arange(found)], scores, labels, ("cell",))
    return ScoredCase(f"{patient:016x}", f"patient {patient}", annotations, detections)


def evaluation_folder(settings: Settings, spec: str) -> Path:
    """Where it lies, and no copy of it."""
    run = connect(settings).get_run(registry.resolve(settings, spec).run_id)
    return Path(run.info.artifact_uri.removeprefix("file://")) / "evaluation"
