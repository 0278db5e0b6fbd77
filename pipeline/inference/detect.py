"""A scan → detections on the grid it was acquired on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.detections import Detections
from pipeline.detections.class_scale import with_one_threshold
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.detector import Candidates, Detector
from pipeline.detectors.fused import fused
from pipeline.evaluation.records import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.inference.background import Background, ends_of
from pipeline.inference.half import HalfPrecision, autocast
from pipeline.inference.looking import Window, look
from pipeline.inference.results import detections_of
from pipeline.inference.scan import Scan
from pipeline.inference.scoring import scored_case
from pipeline.progress import Progress
from pipeline.transforms.preprocessing import network_grid, prepare
from pipeline.types import Image
from pipeline.volumes import Volume

# A voxel of network input while it is made: itself, what it is made from, and a step between the two.
_BYTES_A_VOXEL = 12


class VolumeDetector:
    """A network ready to detect: on a device, in evaluation form.

    ``network`` is the bundle's own; what runs is the same with its batch norms folded. `detect` does at once what
    `prepare`, `known`, `look` and `finish` do in steps: `prepare` and `finish` in any thread, the others in one.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", *, compile_network: bool = False) -> None:
        self.config, self.threshold = bundle.config, bundle.threshold
        self.class_thresholds = bundle.class_thresholds
        inference = bundle.config.inference
        self._half = HalfPrecision(bundle.threshold) if inference.precision == "auto" else None
        self.device = torch.device(resolve_device(device))
        self.network = bundle.network.to(self.device).eval()
        self._running = _running(self.network, compile_network)
        self._background = Background(self._running, bundle.config) if inference.skip_background else None

    @property
    def settled(self) -> bool:
        """Whether the precision is decided: until then a scan is to be detected on by `detect_scan`."""
        return self._half is None or self._half.settled

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
        return self.detect_scan(self.prepare(image, grid, volume_id))

    def prepare(self, image: Image, grid: Grid, volume_id: str) -> Scan:
        """A volume as the network takes it; arguments as for `detect`."""
        working = self._working(grid)
        made = prepare(image, working, self.config.preprocessing, self.device)
        multiple = self._running.coarsest_stride
        scan = Scan.of(volume_id, made.image, made.grid, working, self.config.inference, multiple)
        return replace(scan, own_grid=grid, ends=ends_of(scan) if self._background else ())

    def bytes_of(self, volume: Volume) -> int:
        """About what `prepare` needs of memory, with the stored voxels themselves."""
        network = network_grid(self._working(volume.grid), self.config.preprocessing)
        stored = volume.channels * prod(volume.grid.shape) * volume.array.dtype.itemsize
        return stored + _BYTES_A_VOXEL * self.config.preprocessing.channels * prod(network.shape)

    def known(self, scan: Scan) -> dict[int, Candidates]:
        """The windows that need no look, by number: background, in which the network sees nothing."""
        return self._background.known(scan) if self._background else {}

    def look(self, windows: Sequence[Window], full: int) -> list[Candidates]:
        """What windows of one size own, one entry each, on the device.

        Args:
            windows: of any scans.
            full: with how many windows the network is to be given them; some are repeated to reach it.
        """
        return self._look(self._half is not None and not self._half.refused, windows, full)

    def finish(self, scan: Scan, found: Mapping[int, Candidates]) -> Detections:
        """The detections of a scan, whose windows own ``found``, by number; see `detect`."""
        return self._told(scan, self._detections(scan, found))

    def detect_scan(self, scan: Scan, full: int = 0) -> Detections:
        """As `detect`; ``full`` as for `look`."""
        known, size = self.known(scan), self.config.inference.batch_size
        wanted = [(scan, number) for number in range(len(scan)) if number not in known]

        def found_in(half: bool) -> Detections:
            found = dict(known)
            for first in range(0, len(wanted), size):
                batch = wanted[first : first + size]
                found |= zip((number for _, number in batch), self._look(half, batch, full), strict=True)
            return self._detections(scan, found)

        if self._half is None:
            return self._told(scan, found_in(False))
        return self._told(scan, self._half.detect(partial(found_in, False), partial(found_in, True)))

    def _look(self, half: bool, windows: Sequence[Window], full: int) -> list[Candidates]:
        with autocast(self.device, half):
            return look(self._running, self.config, windows, full)

    def _detections(self, scan: Scan, found: Mapping[int, Candidates]) -> Detections:
        return detections_of(scan, [found[number] for number in sorted(found)], self.config)

    def _told(self, scan: Scan, found: Detections) -> Detections:
        """As the caller is to have it: scores on one scale, on the volume's own grid."""
        if self.class_thresholds is not None:
            found = with_one_threshold(found, self.class_thresholds, self.threshold)
        if scan.own_grid is scan.grid:
            return found
        return replace(found, boxes=Boxes(found.boxes.lower, found.boxes.upper, scan.own_grid))

    def _working(self, grid: Grid) -> Grid:
        """The scan's voxels in the world that the network works in."""
        return Grid.of_pixels(grid.shape) if self.config.data.in_pixels else grid


def score_cases(detector: VolumeDetector, cases: Sequence[Case], progress: Progress | None = None) -> list[ScoredCase]:
    """Detect on every case; its annotations come along."""
    scored = []
    for n, case in enumerate(cases):
        detections = detector.detect(case.array, case.grid, case.volume.volume_id)
        scored.append(scored_case(case, detections))
        if progress:
            progress(n + 1, len(cases), "detecting")
    return scored


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
    device = next(network.parameters()).device
    scan = Scan.of(volume_id, image.to(device), network_grid, grid, inference, network.coarsest_stride)
    windows = [(scan, number) for number in range(len(scan))]
    batches = (windows[first : first + inference.batch_size] for first in range(0, len(windows), inference.batch_size))
    return detections_of(scan, [found for batch in batches for found in look(network, config, batch)], config)


def _running(network: Detector, compile_it: bool) -> Detector:
    if not compile_it:
        return fused(network)
    from pipeline.detectors.compiled import compiled

    return compiled(fused(network))


def resolve_device(device: str) -> str:
    """``auto`` → ``cuda`` where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
