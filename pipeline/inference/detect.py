"""A scan → detections on the grid it was acquired on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from pipeline.config.detector import InferenceConfig
from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detections.class_scale import with_one_threshold
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.detector import Candidates, Detector, View
from pipeline.detectors.fused import fused
from pipeline.detectors.turns import turns_of
from pipeline.evaluation.records import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.inference.half import HalfPrecision, autocast
from pipeline.inference.scoring import scored_case
from pipeline.inference.suppression import suppress, suppress_outlines
from pipeline.inference.windows import WindowPlan, pad_to, plan_windows
from pipeline.progress import Progress
from pipeline.transforms.preprocessing import prepare
from pipeline.types import Image

# Neighbouring windows may see a peak one location apart; both then claim it and suppression keeps one.
_CORE_MARGIN = 1.0


class VolumeDetector:
    """A network ready to detect: on a device, in evaluation form.

    ``network`` is the bundle's own; what runs is the same with its batch norms folded.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.config, self.threshold = bundle.config, bundle.threshold
        self.class_thresholds = bundle.class_thresholds
        self._half = HalfPrecision(bundle.threshold) if bundle.config.inference.precision == "auto" else None
        self.device = torch.device(resolve_device(device))
        self.network = bundle.network.to(self.device).eval()
        self._running = fused(self.network)

    def detect(self, image: Image, grid: Grid, volume_id: str) -> Detections:
        """Detect on one volume.

        Args:
            image: ``(channel, i, j[, k])`` as stored.
            grid: where it lies.
            volume_id: carried through.

        Returns:
            Every detection with a score of at least ``inference.score_floor``, on ``grid``; where each class has a
            threshold of its own, scores are then changed as by `with_one_threshold`.
        """
        working = Grid.of_pixels(grid.shape) if self.config.data.in_pixels else grid
        prepared = prepare(image, working, self.config.preprocessing)

        def found_in(half: bool) -> Detections:
            with autocast(self.device, half):
                return detect_prepared(self._running, self.config, prepared.image, prepared.grid, working, volume_id)

        found = self._half.detect(partial(found_in, False), partial(found_in, True)) if self._half else found_in(False)
        if self.class_thresholds is not None:
            found = with_one_threshold(found, self.class_thresholds, self.threshold)
        return found if working is grid else replace(found, boxes=Boxes(found.boxes.lower, found.boxes.upper, grid))


def score_cases(detector: VolumeDetector, cases: Sequence[Case], progress: Progress | None = None) -> list[ScoredCase]:
    """Detect on every case; its annotations come along."""
    scored = []
    for n, case in enumerate(cases):
        detections = detector.detect(case.array, case.grid, case.volume.volume_id)
        scored.append(scored_case(case, detections))
        if progress:
            progress(n + 1, len(cases), "detecting")
    return scored


@torch.inference_mode()
def detect_prepared(
    network: Detector,
    config: ExperimentConfig,
    image: torch.Tensor,
    network_grid: Grid,
    grid: Grid,
    volume_id: str,
) -> Detections:
    """Detect on network input ``(channel, i, j[, k])`` lying on ``network_grid``; results are on ``grid``."""
    inference = config.inference
    turns = turns_of(config)
    plan = plan_windows(tuple(image.shape[1:]), inference.window, inference.overlap, network.coarsest_stride)
    device = next(network.parameters()).device
    padded = pad_to(image.to(device=device, dtype=torch.float32), plan.padded)
    found = _Candidates.together(
        [
            _owned(found, plan.cores[number], network.stride)
            for batch, numbers in _batches(padded, plan, inference.batch_size)
            for found, number in zip(
                network.look(batch, _views(plan, numbers, network_grid), inference.score_floor, turns),
                numbers,
                strict=True,
            )
        ]
    )
    keep = _suppressed(found, network_grid, inference)
    boxes = Boxes(found.lower[keep], found.upper[keep], network_grid).to(grid)
    outlines = None if found.outlines is None else _moved(found.outlines[keep], network_grid, grid)
    return Detections(
        volume_id,
        boxes,
        found.scores[keep],
        found.labels[keep],
        config.data.classes,
        outlines,
        None if found.grades is None else found.grades[keep],
        "" if config.data.grade is None else config.data.grade.name,
    )


@dataclass(frozen=True, eq=False)
class _Candidates:
    """``lower`` and ``upper`` ``(n, d)`` and ``outlines`` ``(n, rays, 2)`` (stars only) in voxels of the network's
    image; ``scores``, ``labels`` and ``grades`` ``(n,)``, the last where a grade was learnt."""

    lower: np.ndarray
    upper: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    outlines: np.ndarray | None
    grades: np.ndarray | None

    @classmethod
    def together(cls, parts: list["_Candidates"]) -> "_Candidates":
        outlines = [part.outlines for part in parts if part.outlines is not None]
        grades = [part.grades for part in parts if part.grades is not None]
        return cls(
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.upper for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate(outlines) if outlines else None,
            np.concatenate(grades) if grades else None,
        )


def _suppressed(found: _Candidates, grid: Grid, inference: InferenceConfig) -> np.ndarray:
    iou, distance, spacing = inference.suppression_iou, inference.suppression_distance, grid.spacing
    if found.outlines is not None:
        return suppress_outlines(found.outlines, grid.shape, found.scores, iou, spacing, distance)
    return suppress(found.lower * spacing, found.upper * spacing, found.scores, iou, distance)


def _moved(outlines: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Polygons ``(n, vertices, d)`` on another grid of the same world."""
    if source is target:
        return outlines
    return target.to_voxel(source.to_world(outlines.reshape(-1, source.dims))).reshape(outlines.shape)


def _batches(image: torch.Tensor, plan: WindowPlan, size: int) -> Iterator[tuple[torch.Tensor, range]]:
    for first in range(0, len(plan.starts), size):
        numbers = range(first, min(first + size, len(plan.starts)))
        regions = [tuple(slice(s, s + n) for s, n in zip(plan.starts[k], plan.size, strict=True)) for k in numbers]
        yield torch.stack([image[(slice(None), *region)] for region in regions]), numbers


def _views(plan: WindowPlan, numbers: range, grid: Grid) -> list[View]:
    return [View(plan.starts[number], grid.shape) for number in numbers]


def _owned(found: Candidates, core: tuple[tuple[float, float], ...], stride: tuple[int, ...]) -> _Candidates:
    """Those of one window that its core owns."""
    low, high = torch.tensor(core, dtype=torch.float32, device=found.at.device).unbind(dim=1)
    margin = torch.tensor(stride, dtype=torch.float32, device=found.at.device) * _CORE_MARGIN
    own = found[((found.at >= low - margin) & (found.at <= high + margin)).all(dim=1)]
    return _Candidates(
        own.lower.double().cpu().numpy(),
        own.upper.double().cpu().numpy(),
        own.scores.double().cpu().numpy(),
        own.labels.cpu().numpy(),
        None if own.outlines is None else own.outlines.double().cpu().numpy(),
        None if own.grades is None else own.grades.double().cpu().numpy(),
    )


def resolve_device(device: str) -> str:
    """``auto`` → ``cuda`` where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
