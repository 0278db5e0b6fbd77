"""What the windows of a scan show → its detections."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.config.detector import InferenceConfig
from pipeline.config.experiment import ExperimentConfig
from pipeline.detections import Detections
from pipeline.detectors.detector import Candidates
from pipeline.geometry import Boxes, Grid
from pipeline.inference.scan import Scan
from pipeline.inference.suppression import suppress, suppress_outlines


def detections_of(scan: Scan, found: Sequence[Candidates], config: ExperimentConfig) -> Detections:
    """Suppress, and move to the scan's own grid.

    Args:
        scan: the scan.
        found: what each window owns, one window after the other.
        config: of the network.
    """
    pooled = Candidates.together(found)
    lower, upper, scores = (_array(values) for values in (pooled.lower, pooled.upper, pooled.scores))
    outlines = None if pooled.outlines is None else _array(pooled.outlines)
    keep = _suppressed(lower, upper, scores, outlines, scan.network_grid, config.inference)
    return Detections(
        scan.volume_id,
        Boxes(lower[keep], upper[keep], scan.network_grid).to(scan.grid),
        scores[keep],
        pooled.labels.cpu().numpy()[keep],
        config.data.classes,
        None if outlines is None else _moved(outlines[keep], scan.network_grid, scan.grid),
        None if pooled.grades is None else _array(pooled.grades)[keep],
        "" if config.data.grade is None else config.data.grade.name,
    )


def _array(values: torch.Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def _suppressed(
    lower: np.ndarray,
    upper: np.ndarray,
    scores: np.ndarray,
    outlines: np.ndarray | None,
    grid: Grid,
    inference: InferenceConfig,
) -> np.ndarray:
    iou, distance, spacing = inference.suppression_iou, inference.suppression_distance, grid.spacing
    if outlines is not None:
        return suppress_outlines(outlines, grid.shape, scores, iou, spacing, distance)
    return suppress(lower * spacing, upper * spacing, scores, iou, distance)


def _moved(outlines: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Polygons ``(n, vertices, d)`` on another grid of the same world."""
    if source is target:
        return outlines
    return target.to_voxel(source.to_world(outlines.reshape(-1, source.dims))).reshape(outlines.shape)
