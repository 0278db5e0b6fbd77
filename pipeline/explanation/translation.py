"""The translation test: how much detections move, and how much their scores change, when the window begins elsewhere.

Convolutions promise that an object is found wherever it lies; strided ones keep the promise only for shifts by a whole
stride (Zhang 2019, arXiv 1904.11486). The same scan is cut at windows that begin 1, 2 … coarsest-stride voxels later
and earlier along one axis. All windows lie inside the scan: nothing is interpolated or padded, no object is cut by the
shift, and no voxel of the regions compared differs. Only detections are compared that lie so far inside all of the
windows along that axis that the convolutions see no border that moves (or, where windows are too small for that, at
least a sixth of the window).
The last shift, a whole stride, is the control: what is left there comes from borders and from norms whose statistics
are of the whole window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.detector import Detector
from pipeline.explanation.receptive import output_receptive_field
from pipeline.explanation.scan import NetworkScan
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector, detect_prepared
from pipeline.progress import Progress

# Of the voxels that pass in training, where they cost three times as much: backwards too. The rest of the tenth of the
# training's time that the test may take is for preparing scans, which costs more than forward passes.
_SHARE_OF_TRAINING = 0.15
# One scan may be a special one, so that few are tested even where training was short; of scans that hold little more
# than one object many are, until enough detections were followed.
_LEAST_CASES, _USUAL_CASES, _MOST_CASES, _ENOUGH = 3, 8, 40, 30
_FIGURES = ("moved_voxel", "moved_unit", "score_change", "lost", "appeared")


@dataclass(frozen=True)
class Shift:
    """What one shift of one case did to the detections above the threshold.

    ``shift_voxel`` along array axis ``axis`` (0 = i) of the network's grid, below 0 where the window begins earlier.
    One entry a detection that is found again: ``moved_voxel`` and ``moved_unit`` (distance between the two centres in
    the scan, in voxels and in the scan's unit) and ``score_change`` (absolute). ``lost``: of ``detections``, those not
    found again at or above the threshold. ``appeared``: those that only the shifted window has at or above it.
    """

    axis: int
    shift_voxel: int
    moved_voxel: tuple[float, ...]
    moved_unit: tuple[float, ...]
    score_change: tuple[float, ...]
    lost: int
    detections: int
    appeared: int = 0


@dataclass(frozen=True)
class TranslationReport:
    """All shifts of all cases.

    ``unit`` is mm or px. ``detections`` were followed, in ``cases``, along the axis that lets most of them be.
    ``whole_field``: whether they lie so far inside that the convolutions see no border that moves. ``stride`` is the
    output's, ``coarsest_stride`` the last of the backbone, in voxels along each axis.
    """

    shifts: tuple[Shift, ...]
    unit: str
    cases: int
    detections: int
    whole_field: bool
    stride: tuple[int, ...] = ()
    coarsest_stride: tuple[int, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Means over detections and shifts; NaN where no detection was compared.

        ``translation_shift_voxel``, ``translation_shift_mm`` or ``…_px``, ``translation_score_change``,
        ``translation_lost`` and ``translation_appeared`` (shares of the detections followed), and
        ``translation_detections`` (how many were followed) in ``translation_cases``.
        """
        figures = _figures(self.shifts)
        return {
            "translation_shift_voxel": figures["moved_voxel"],
            f"translation_shift_{self.unit}": figures["moved_unit"],
            "translation_score_change": figures["score_change"],
            "translation_lost": figures["lost"],
            "translation_appeared": figures["appeared"],
            "translation_detections": float(self.detections),
            "translation_cases": float(self.cases),
        }

    def curve(self, axis: int | None = None) -> list[dict[str, float]]:
        """One row a shift, along one axis or all: ``shift_voxel``, ``moved_voxel``, ``moved_unit``, ``score_change``,
        ``lost``, ``appeared``."""
        shifts = [one for one in self.shifts if axis is None or one.axis == axis]
        amounts = sorted({shift.shift_voxel for shift in shifts})
        return [
            {"shift_voxel": amount, **_figures([one for one in shifts if one.shift_voxel == amount])}
            for amount in amounts
        ]

    def to_json(self) -> dict[str, object]:
        return {
            **self.metrics(),
            "unit": self.unit,
            "cases": self.cases,
            "interior_free_of_borders": self.whole_field,
            "stride": list(self.stride),
            "coarsest_stride": list(self.coarsest_stride),
            "curve": self.curve(),
            "curves_by_axis": {str(axis): self.curve(axis) for axis in sorted({one.axis for one in self.shifts})},
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
    """Test a version on a few cases: 3, and as many as a tenth of the work of its training allows up to 8, or up to 40
    while fewer than 30 detections are followed.

    The work is counted in voxels and not in seconds, so that the same version and cases give the same figures
    everywhere. Cases with annotated objects come first, in the order given.
    """
    detector = VolumeDetector(bundle.plain, device)
    reach, budget = half_field(detector.network), _budget(bundle.config)
    reports: list[TranslationReport] = []
    chosen = sorted(cases, key=lambda case: not (~case.annotations.ignore).any())[:_MOST_CASES]
    for case in chosen:
        scan = NetworkScan.of(case.array, case.grid, bundle.config)
        plans = _plans(detector, scan, scan.boxes(case.annotations.boxes).centres, reach)
        budget -= sum(float(np.prod(plan.size)) * (1 + len(plan.moves)) for plan in plans)
        enough = len(reports) >= _USUAL_CASES and sum(one.detections for one in reports) >= _ENOUGH
        if enough or (len(reports) >= _LEAST_CASES and budget < 0):
            break
        reports.append(_followed(detector, scan, plans))
        if progress:
            progress(len(reports), len(chosen), "shifting")
    return TranslationReport(
        shifts=tuple(shift for one in reports for shift in one.shifts),
        unit=reports[0].unit if reports else "px",
        cases=len(reports),
        detections=sum(one.detections for one in reports),
        whole_field=all(one.whole_field for one in reports),
        stride=detector.network.stride,
        coarsest_stride=detector.network.coarsest_stride,
    )


def translation_of_scan(detector: VolumeDetector, scan: NetworkScan, points: np.ndarray) -> TranslationReport:
    """Test one scan, where it holds most of ``points`` ``(n, d)``, voxels of the network's grid."""
    return _followed(detector, scan, _plans(detector, scan, points, half_field(detector.network)))


def _plans(detector: VolumeDetector, scan: NetworkScan, points: np.ndarray, reach: np.ndarray) -> list[ShiftPlan]:
    """One an axis that is long enough."""
    given = (detector.network, detector.config, scan.grid, points, reach)
    plans = [plan_shifts(*given, axis) for axis in range(scan.grid.dims)]
    return [plan for plan in plans if plan.moves]


def _followed(detector: VolumeDetector, scan: NetworkScan, plans: Sequence[ShiftPlan]) -> TranslationReport:
    network = detector.network
    shifts = [
        shift for plan in plans for shift in follow_shifts(network, detector.config, scan, plan, detector.threshold)
    ]
    followed = max((shift.detections for shift in shifts), default=0)
    whole = all(plan.whole_field for plan in plans)
    return TranslationReport(tuple(shifts), scan.grid.unit, 1, followed, whole, network.stride, network.coarsest_stride)


def half_field(network: Detector) -> np.ndarray:
    """How far ``(d,)`` from a location the convolutions see, in voxels."""
    return np.array(output_receptive_field(network)) // 2 + 1


def plan_shifts(
    network: Detector, config: ExperimentConfig, grid: Grid, points: np.ndarray, reach: np.ndarray, axis: int
) -> ShiftPlan:
    """A window that holds as many of ``points`` ``(n, d)`` (voxels of ``grid``) in its interior as one can.

    It is shifted along ``axis`` and as long as it may be along the others, whose borders stay where they are. Along a
    short axis windows begin later only, and along one that is too short for that none does. ``reach`` is that of
    `half_field`.
    """
    stride, shape = np.array(network.coarsest_stride), np.array(grid.shape)
    one_way, two_ways = (np.minimum(config.inference.window, shape - n * stride) // stride * stride for n in (1, 2))
    # Or nothing is left between the borders of all windows.
    along = np.arange(grid.dims) == axis
    both, moving = along & (two_ways >= 4 * stride), along & (one_way >= 2 * stride)
    room, back = np.where(both, two_ways, one_way), np.where(both, stride, 0)
    size = np.where(moving, room, np.minimum(config.inference.window, shape))
    margin = np.where(moving, np.minimum(reach, size // 6), 0)
    last = np.where(moving, shape - size - stride, shape - size)
    # Interior of the window at ``start``: start + offset_low … start + offset_high.
    offset_low, offset_high = np.where(moving, stride + margin, 0) - 0.5, size - back - margin - 0.5
    start = _fullest(points, offset_low, offset_high, back, last)
    amounts = range(-int(back[axis]), int(stride[axis]) + 1) if moving[axis] else ()
    moves = tuple((axis, n) for n in amounts if n)
    whole = bool((margin[moving] >= reach[moving]).all())
    as_tuple = [tuple(int(n) for n in values) for values in (start, size)]
    return ShiftPlan(as_tuple[0], as_tuple[1], moves, start + offset_low, start + offset_high, whole)


def follow_shifts(
    network: Detector, config: ExperimentConfig, scan: NetworkScan, plan: ShiftPlan, threshold: float
) -> list[Shift]:
    """Detect in the first window and in every shifted one, and follow the detections of the interior."""
    first = _detect(network, config, scan, plan.start, plan.size)
    outcomes = []
    for axis, amount in plan.moves:
        start = tuple(first_voxel + amount * (n == axis) for n, first_voxel in enumerate(plan.start))
        second = _detect(network, config, scan, start, plan.size)
        outcomes.append(_outcome(first, second, plan, (axis, amount), threshold))
    return outcomes


def _budget(config: ExperimentConfig) -> float:
    """Voxels that may pass the network."""
    sampling = config.sampling
    return _SHARE_OF_TRAINING * config.training.max_epochs * sampling.samples_per_epoch * float(np.prod(sampling.patch))


def _fullest(
    points: np.ndarray, low: np.ndarray, high: np.ndarray, earliest: np.ndarray, last: np.ndarray
) -> np.ndarray:
    """The start, within ``earliest`` … ``last``, whose interior holds most points; of equals the first."""
    middle = (low + high) / 2
    wanted = points if len(points) else ((earliest + last) / 2 + middle)[None]
    starts = np.clip(np.round(wanted - middle), earliest, last).astype(int)
    held = [((points >= one + low) & (points < one + high)).all(axis=1).sum() for one in starts]
    return np.asarray(starts[int(np.argmax(held))])


def _detect(
    network: Detector,
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


def _outcome(first: Detections, second: Detections, plan: ShiftPlan, move: tuple[int, int], threshold: float) -> Shift:
    before, after = (_followed_in(found, plan, threshold) for found in (first, second))
    a, b = _pairs(before, second)
    step = second.boxes.centres[b] - before.boxes.centres[a]
    there = _pairs(after, first)[1]
    return Shift(
        axis=move[0],
        shift_voxel=move[1],
        moved_voxel=tuple(np.linalg.norm(step, axis=1).tolist()),
        moved_unit=tuple(np.linalg.norm(step * first.boxes.grid.spacing, axis=1).tolist()),
        score_change=tuple(np.abs(second.scores[b] - before.scores[a]).tolist()),
        lost=len(before) - int((second.scores[b] >= threshold).sum()),
        detections=len(before),
        appeared=len(after) - int((first.scores[there] >= threshold).sum()),
    )


def _followed_in(found: Detections, plan: ShiftPlan, threshold: float) -> Detections:
    """Those at or above the threshold whose centre lies in the interior of all windows."""
    centres = found.boxes.centres
    return _taken(found, (found.scores >= threshold) & ((centres >= plan.lower) & (centres < plan.upper)).all(axis=1))


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

    followed = sum(one.detections for one in shifts)

    def share(name: str) -> float:
        return sum(getattr(one, name) for one in shifts) / followed if followed else float("nan")

    return {name: (share if name in ("lost", "appeared") else mean)(name) for name in _FIGURES}
