"""The translation test: how much detections move, and how much their scores change, when the window begins elsewhere.

Convolutions promise that an object is found wherever it lies; strided ones keep the promise only for shifts by a whole
stride (Zhang 2019, arXiv 1904.11486). The same scan is cut at windows that begin 1, 2 … coarsest-stride voxels later
along one axis: nothing is interpolated, and no voxel of the regions compared differs. Only detections are compared
that lie so far inside all of the windows that the convolutions see no border (or, where windows are too small for that,
at least a sixth of the window). The last shift, a whole stride, is the control: what is left there comes from borders
and from norms whose statistics are of the whole window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.explanation.receptive import output_receptive_field
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector, detect_prepared
from pipeline.progress import Progress

# Of the voxels that pass in training, where they cost three times as much: backwards too. The rest of the tenth of the
# training's time that the test may take is for preparing scans, which costs more than forward passes.
_SHARE_OF_TRAINING = 0.15
_MOST_CASES = 8


@dataclass(frozen=True)
class Shift:
    """What one shift of one case did to the detections above the threshold.

    ``shift_voxel`` along array axis ``axis`` (0 = i) of the network's grid. One entry a detection that is found again:
    ``moved_voxel`` and ``moved_unit`` (distance between the two centres, in voxels and in the scan's unit) and
    ``score_change`` (absolute). ``lost``: of ``detections``, those not found again at or above the threshold.
    """

    axis: int
    shift_voxel: int
    moved_voxel: tuple[float, ...]
    moved_unit: tuple[float, ...]
    score_change: tuple[float, ...]
    lost: int
    detections: int


@dataclass(frozen=True)
class TranslationReport:
    """All shifts of all cases.

    ``unit`` is mm or px. ``detections`` were followed, in ``cases``. ``whole_field``: whether they lie so far inside
    that the convolutions see no border of a window.
    """

    shifts: tuple[Shift, ...]
    unit: str
    cases: int
    detections: int
    whole_field: bool

    def metrics(self) -> dict[str, float]:
        """Means over detections and shifts; NaN where no detection was compared.

        ``translation_shift_voxel``, ``translation_shift_mm`` or ``…_px``, ``translation_score_change``,
        ``translation_lost`` (share) and ``translation_detections`` (how many were followed).
        """
        figures = _figures(self.shifts)
        return {
            "translation_shift_voxel": figures["moved_voxel"],
            f"translation_shift_{self.unit}": figures["moved_unit"],
            "translation_score_change": figures["score_change"],
            "translation_lost": figures["lost"],
            "translation_detections": float(self.detections),
        }

    def curve(self) -> list[dict[str, float]]:
        """One row a shift: ``shift_voxel``, ``moved_voxel``, ``moved_unit``, ``score_change``, ``lost``."""
        amounts = sorted({shift.shift_voxel for shift in self.shifts})
        return [
            {"shift_voxel": amount, **_figures([one for one in self.shifts if one.shift_voxel == amount])}
            for amount in amounts
        ]

    def to_json(self) -> dict[str, object]:
        return {
            **self.metrics(),
            "unit": self.unit,
            "cases": self.cases,
            "interior_free_of_borders": self.whole_field,
            "curve": self.curve(),
        }


@dataclass(frozen=True)
class ShiftPlan:
    """The first window begins at ``start`` and has ``size`` voxels; ``moves`` are ``(axis, voxels)``.

    Detections whose centre lies in ``lower`` … ``upper`` (voxels of the scan) are followed.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    moves: tuple[tuple[int, int], ...]
    lower: np.ndarray
    upper: np.ndarray
    whole_field: bool


def translation_report(
    bundle: Bundle, cases: Sequence[Case], device: str = "auto", progress: Progress | None = None
) -> TranslationReport:
    """Test a version on a few cases: as many as a tenth of the work of its training allows, from 1 to 8.

    The work is counted in voxels and not in seconds, so that the same version and cases give the same figures
    everywhere. Cases with annotated objects come first, in the order given.
    """
    detector = VolumeDetector(bundle, device)
    reach, budget = half_field(detector.network), _budget(bundle.config)
    reports: list[TranslationReport] = []
    chosen = sorted(cases, key=lambda case: not (~case.annotations.ignore).any())[:_MOST_CASES]
    for case in chosen:
        scan = NetworkScan.of(case.array, case.grid, bundle.config)
        plan = plan_shifts(
            detector.network, bundle.config, scan.grid, scan.boxes(case.annotations.boxes).centres, reach
        )
        budget -= float(np.prod(plan.size)) * (1 + len(plan.moves))
        if reports and budget < 0:
            break
        reports.append(_followed(detector, scan, plan))
        if progress:
            progress(len(reports), len(chosen), "shifting")
    return TranslationReport(
        shifts=tuple(shift for one in reports for shift in one.shifts),
        unit=reports[0].unit if reports else "px",
        cases=len(reports),
        detections=sum(one.detections for one in reports),
        whole_field=all(one.whole_field for one in reports),
    )


def translation_of_scan(detector: VolumeDetector, scan: NetworkScan, points: np.ndarray) -> TranslationReport:
    """Test one scan, where it holds most of ``points`` ``(n, d)``, voxels of the network's grid."""
    plan = plan_shifts(detector.network, detector.config, scan.grid, points, half_field(detector.network))
    return _followed(detector, scan, plan)


def _followed(detector: VolumeDetector, scan: NetworkScan, plan: ShiftPlan) -> TranslationReport:
    shifts = follow_shifts(detector.network, detector.config, scan, plan, detector.threshold)
    followed = shifts[0].detections if shifts else 0
    return TranslationReport(tuple(shifts), scan.grid.unit, 1, followed, plan.whole_field)


def half_field(network: CentreBoxDetector) -> np.ndarray:
    """How far ``(d,)`` from a location the convolutions see, in voxels."""
    return np.array(output_receptive_field(network)) // 2 + 1


def plan_shifts(
    network: CentreBoxDetector, config: ExperimentConfig, grid: Grid, points: np.ndarray, reach: np.ndarray
) -> ShiftPlan:
    """A window that holds as many of ``points`` ``(n, d)`` (voxels of ``grid``) in its interior as one can.

    An axis that is too short to be shifted along is taken as it is. ``reach`` is that of `half_field`.
    """
    stride, shape = np.array(network.coarsest_stride), np.array(grid.shape)
    room = (np.minimum(config.inference.window, shape - stride) // stride) * stride
    moving = room >= 2 * stride
    size = np.where(moving, room, np.minimum(config.inference.window, shape))
    margin = np.where(moving, np.minimum(reach, size // 6), 0)
    last = np.where(moving, shape - size - stride, shape - size)
    # Interior of the window at ``start``: start + offset_low … start + offset_high.
    offset_low, offset_high = np.where(moving, stride + margin, 0) - 0.5, size - margin - 0.5
    start = _fullest(points, offset_low, offset_high, last)
    moves = tuple((int(axis), n) for axis in np.flatnonzero(moving) for n in range(1, int(stride[axis]) + 1))
    whole = bool((margin[moving] >= reach[moving]).all())
    as_tuple = [tuple(int(n) for n in values) for values in (start, size)]
    return ShiftPlan(as_tuple[0], as_tuple[1], moves, start + offset_low, start + offset_high, whole)


def follow_shifts(
    network: CentreBoxDetector, config: ExperimentConfig, scan: NetworkScan, plan: ShiftPlan, threshold: float
) -> list[Shift]:
    """Detect in the first window and in every shifted one, and follow the detections of the interior."""
    found = _detect(network, config, scan, plan.start, plan.size)
    centres = found.boxes.centres
    followed = (found.scores >= threshold) & ((centres >= plan.lower) & (centres < plan.upper)).all(axis=1)
    first = _taken(found, followed)
    outcomes = []
    for axis, amount in plan.moves:
        start = tuple(first_voxel + amount * (n == axis) for n, first_voxel in enumerate(plan.start))
        outcomes.append(_outcome(first, _detect(network, config, scan, start, plan.size), axis, amount, threshold))
    return outcomes


def _budget(config: ExperimentConfig) -> float:
    """Voxels that may pass the network."""
    sampling = config.sampling
    return _SHARE_OF_TRAINING * config.training.max_epochs * sampling.samples_per_epoch * float(np.prod(sampling.patch))


def _fullest(points: np.ndarray, low: np.ndarray, high: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The start, within 0 … ``last``, whose interior holds most points; of equals that of the earliest point."""
    middle = (low + high) / 2
    wanted = points if len(points) else (last / 2 + middle)[None]
    starts = np.clip(np.round(wanted - middle), 0, last).astype(int)
    held = [((points >= one + low) & (points < one + high)).all(axis=1).sum() for one in starts]
    return np.asarray(starts[int(np.argmax(held))])


def _detect(
    network: CentreBoxDetector,
    config: ExperimentConfig,
    scan: NetworkScan,
    start: tuple[int, ...],
    size: tuple[int, ...],
) -> Detections:
    """Detections in one window, their boxes in voxels of the scan on the network's grid."""
    end = tuple(s + n for s, n in zip(start, size, strict=True))
    region = tuple(slice(s, e) for s, e in zip(start, end, strict=True))
    grid = scan.grid.crop(start, end)
    return detect_prepared(network, config, scan.image[(slice(None), *region)], grid, scan.grid, "window")


def _taken(found: Detections, keep: np.ndarray) -> Detections:
    return Detections(found.volume_id, found.boxes[keep], found.scores[keep], found.labels[keep], found.classes)


def _outcome(first: Detections, second: Detections, axis: int, amount: int, threshold: float) -> Shift:
    spacing = first.boxes.grid.spacing
    a, b = _pairs(first, second)
    step = second.boxes.centres[b] - first.boxes.centres[a]
    change = np.abs(second.scores[b] - first.scores[a])
    return Shift(
        axis=axis,
        shift_voxel=amount,
        moved_voxel=tuple(np.linalg.norm(step, axis=1).tolist()),
        moved_unit=tuple(np.linalg.norm(step * spacing, axis=1).tolist()),
        score_change=tuple(change.tolist()),
        lost=len(first) - int((second.scores[b] >= threshold).sum()),
        detections=len(first),
    )


def _pairs(first: Detections, second: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Indices of detections that are the same object: one to one, nearest centres first, each within half of the
    first's longest edge."""
    spacing = first.boxes.grid.spacing
    reach = first.boxes.sizes_world.max(axis=1, initial=0) / 2
    none = np.zeros(0, dtype=np.int64)
    if not (len(first) and len(second)):
        return none, none
    trees = [cKDTree(found.boxes.centres * spacing) for found in (first, second)]
    near = trees[0].sparse_distance_matrix(trees[1], float(reach.max()), output_type="ndarray")
    rows, columns, distances = near["i"], near["j"], near["v"]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for n in np.argsort(distances, kind="stable"):
        a, b = int(rows[n]), int(columns[n])
        if distances[n] <= reach[a] and a not in pairs and b not in taken:
            pairs[a] = b
            taken.add(b)
    return np.array(list(pairs), dtype=np.int64), np.array(list(pairs.values()), dtype=np.int64)


def _figures(shifts: Sequence[Shift]) -> dict[str, float]:
    def mean(name: str) -> float:
        values = [value for one in shifts for value in getattr(one, name)]
        return float(np.mean(values)) if values else float("nan")

    detections = sum(one.detections for one in shifts)
    lost = sum(one.lost for one in shifts) / detections if detections else float("nan")
    return {**{name: mean(name) for name in ("moved_voxel", "moved_unit", "score_change")}, "lost": lost}
