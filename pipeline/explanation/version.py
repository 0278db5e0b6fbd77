"""One version, explained on a few of its test cases."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ModelError
from pipeline.evaluation.matching import match_case
from pipeline.evaluation.records import ScoredCase
from pipeline.explanation.detection import ExplainedDetection, explain_detection
from pipeline.explanation.features import SeenWindow, seen_window
from pipeline.explanation.pointing import PointedHit, Pointing, point
from pipeline.explanation.scan import NetworkScan, Windows
from pipeline.explanation.units import StageUnits, exciting_pieces, first_filters
from pipeline.inference.detect import VolumeDetector
from pipeline.progress import Progress

_MOST_CASES, _MOST_VOXELS = 6, 40_000_000
# Eight passes forwards and backwards each.
_MOST_POINTED = 2
# A place that suppression moved, or two that tie, cannot be led back to one location: the next detection then serves.
_TRIES = 3


@dataclass(frozen=True, eq=False)
class ExplainedCase:
    """One detection of one case, ``index`` of ``detections``, explained."""

    case: Case
    detections: Detections
    index: int
    explained: ExplainedDetection


@dataclass(frozen=True, eq=False)
class VersionExplanation:
    """``hit`` and ``false_positive`` are the most confident ones of the cases examined, ``None`` where there is none.

    ``seen`` is the window about the hit, or about the first case's middle. ``examined``: how many cases.
    """

    examined: int
    seen: SeenWindow
    units: tuple[StageUnits, ...]
    filters: np.ndarray | None
    hit: ExplainedCase | None
    false_positive: ExplainedCase | None
    pointing: Pointing

    def metrics(self) -> dict[str, float]:
        """`Pointing.metrics`, and of the hit ``saliency_sanity_passed`` (1 or 0),
        ``saliency_random_correlation``, ``saliency_random_magnitude_correlation`` and ``saliency_residual``."""
        figures = self.pointing.metrics()
        if self.hit is None:
            return figures
        sanity = self.hit.explained.sanity
        return figures | {
            "saliency_sanity_passed": float(sanity.passed),
            "saliency_random_correlation": float(np.mean(np.abs(sanity.randomised))),
            "saliency_random_magnitude_correlation": sanity.magnitude_correlation,
            "saliency_residual": self.hit.explained.saliency.relative_residual,
        }

    def to_json(self) -> dict[str, object]:
        return {
            "examined": self.examined,
            "hit": _told(self.hit),
            "false_positive": _told(self.false_positive),
            "pointing": {**self.pointing.metrics(), "hits": [vars(one) for one in self.pointing.hits]},
        }


@dataclass(frozen=True, eq=False)
class _Examined:
    """``hits``: detection and object, the most confident first; ``false``: indices, likewise; at the threshold."""

    case: Case
    scan: NetworkScan
    found: Detections
    hits: list[tuple[int, int]]
    false: list[int]

    def point(self) -> np.ndarray:
        """Centre of the most confident hit in voxels of the network's grid, or the scan's middle."""
        if not self.hits:
            return (np.array(self.scan.grid.shape) - 1) / 2
        return np.asarray(self.scan.boxes(self.found.boxes).centres[self.hits[0][0]])


def explain_cases(
    bundle: Bundle, cases: Sequence[Case], device: str = "auto", progress: Progress | None = None
) -> VersionExplanation:
    """Explain a version on at most six of its test cases, those with objects first, and fewer where they are large.

    Args:
        bundle: the version.
        cases: that did not shape it; at least one.
        device: to run on.
        progress: called before each part.

    Raises:
        DatasetError: the experiment's match rule does not suit the cases.
    """
    parts = iter(range(4))

    def begin(what: str) -> None:
        if progress:
            progress(next(parts), 4, f"explaining, {what}")

    begin("detecting")
    detector = VolumeDetector(bundle.plain, device)
    examined = [_examine(detector, case) for case in _chosen(cases)]
    begin("saliency")
    hit = _explained(detector, [(one, index) for one in examined for index, _ in one.hits])
    false = _explained(detector, [(one, index) for one in examined for index in one.false])
    begin("pointing")
    pointing = _pointing(detector, examined)
    begin("feature maps")
    windows = [_window(detector, one) for one in examined]
    stages = sorted({0, len(detector.network.backbone.strides) // 2, len(detector.network.backbone.strides) - 1})
    units = exciting_pieces(detector.network, windows, stages)
    shown = next((one for one in examined if hit is not None and one.case is hit.case), examined[0])
    seen = seen_window(detector.network, bundle.config, shown.scan, shown.point().tolist())
    return VersionExplanation(len(examined), seen, units, first_filters(detector.network), hit, false, pointing)


def _chosen(cases: Sequence[Case]) -> list[Case]:
    ordered = sorted(cases, key=lambda case: not (~case.annotations.ignore).any())[:_MOST_CASES]
    voxels = np.cumsum([np.prod(case.grid.shape, dtype=np.int64) for case in ordered])
    return ordered[: max(1, int((voxels <= _MOST_VOXELS).sum()))]


def _examine(detector: VolumeDetector, case: Case) -> _Examined:
    image = np.asarray(case.array[...])
    found = detector.detect(image, case.grid, case.volume.volume_id)
    scored = ScoredCase(case.case_id, case.patient_key, case.annotations, found)
    match = match_case(scored, detector.config.evaluation.match)
    order = [int(n) for n in np.argsort(-found.scores, kind="stable") if found.scores[n] >= detector.threshold]
    return _Examined(
        case,
        NetworkScan.of(image, case.grid, detector.config),
        found,
        hits=[(n, int(match.found[n])) for n in order if match.hit[n]],
        false=[n for n in order if match.false[n]],
    )


def _explained(detector: VolumeDetector, candidates: list[tuple[_Examined, int]]) -> ExplainedCase | None:
    """The most confident of them, or one of the next where it cannot be led back to the output."""
    candidates.sort(key=lambda entry: -float(entry[0].found.scores[entry[1]]))
    for one, index in candidates[:_TRIES]:
        try:
            explained = explain_detection(detector.network, detector.config, one.scan, one.found, index)
        except ModelError:
            continue
        return ExplainedCase(one.case, one.found, index, explained)
    return None


def _pointing(detector: VolumeDetector, examined: list[_Examined]) -> Pointing:
    """At the most confident hits, one a case before any case's second."""
    turns = [(turn, -float(one.found.scores[hit[0]]), n, hit)
             for n, one in enumerate(examined) for turn, hit in enumerate(one.hits)]  # fmt: skip
    pointed: list[PointedHit] = []
    for _, _, n, hit in sorted(turns)[:_MOST_POINTED]:
        one = examined[n]
        objects = one.case.annotations.boxes
        with suppress(ModelError):
            pointed += point(detector.network, detector.config, one.scan, one.found, [hit], objects)
    return Pointing(tuple(pointed))


def _window(detector: VolumeDetector, one: _Examined) -> torch.Tensor:
    windows = Windows.of(detector.network, detector.config, one.scan)
    return windows[(windows.around(one.point().tolist()) or [0])[0]]


def _told(one: ExplainedCase | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {
        "case_id": one.case.case_id,
        "score": float(one.detections.scores[one.index]),
        "label": one.detections.label_names[one.index],
        **one.explained.to_json(),
    }
