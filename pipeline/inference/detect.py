"""A scan → detections on the grid it was acquired on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.config.transforms import PreprocessingConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import preprocessing_of
from pipeline.detections import Detections
from pipeline.detections.class_scale import with_one_threshold
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.detector import Candidates, Detector
from pipeline.detectors.fused import fused
from pipeline.devices import computes_bf16, resolve_device
from pipeline.evaluation.records import ScoredCase
from pipeline.geometry import Boxes, Grid
from pipeline.inference.background import Background
from pipeline.inference.half import HalfPrecision, autocast
from pipeline.inference.looking import Window, look
from pipeline.inference.parts import Part
from pipeline.inference.preparing import PART_BYTES, WHOLE_BYTES, Division, Preparing
from pipeline.inference.results import detections_of
from pipeline.inference.scan import Scan
from pipeline.inference.scoring import scored_case
from pipeline.progress import Progress
from pipeline.types import Image
from pipeline.volumes import Volume
from pipeline.volumes.arrays import Voxels


class VolumeDetector:
    """A network ready to detect: on a device, in evaluation form.

    ``network`` is the bundle's own; what runs is the same with its batch norms folded. `detect` does at once what
    `prepare`, `known`, `look` and `finish` do in steps: `known` in one thread, the others in any.
    A picture too large for that is divided and prepared in parts, whose windows are finished together.

    Args:
        bundle: weights and all that belongs to them.
        device: where the network runs.
        compile_network: see `pipeline.detectors.compiled`.
        whole_bytes: a picture that takes more to be prepared is divided.
        part_bytes: what preparing a part takes, about.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        *,
        compile_network: bool = False,
        whole_bytes: int = WHOLE_BYTES,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.config, self.threshold = bundle.config, bundle.threshold
        self.class_thresholds = bundle.class_thresholds
        inference = bundle.config.inference
        self.device = torch.device(resolve_device(device))
        halves = inference.precision == "auto" and computes_bf16(self.device)
        self._half = HalfPrecision(bundle.threshold) if halves else None
        self.network = bundle.network.to(self.device).eval()
        self.compiled = compile_network
        self._running = _running(self.network, compile_network)
        self._background = Background(self._running, bundle.config) if inference.skip_background else None
        least = min(bundle.class_thresholds or (bundle.threshold,))
        self._preparing = Preparing(
            self._running, bundle.config, self.device, self._background, least, whole_bytes, part_bytes
        )

    @property
    def settled(self) -> bool:
        """Whether the precision is decided: until then a scan is to be given to `found_in`."""
        return self._half is None or self._half.settled

    def detect(
        self, image: Image, grid: Grid, volume_id: str, preprocessing: PreprocessingConfig | None = None
    ) -> Detections:
        """Detect on one volume.

        Args:
            image: ``(channel, i, j[, k])`` as stored.
            grid: where it lies.
            volume_id: carried through.
            preprocessing: instead of the version's own.

        Returns:
            Every detection with a score of at least ``inference.score_floor``, on ``grid``; where each class has a
            threshold of its own, scores are then changed as by `with_one_threshold`.
        """
        scan = self._preparing.whole(image, grid, volume_id, preprocessing)
        return self.finish(scan, self.found_in(scan))

    def prepare(self, image: Image | Voxels, grid: Grid, volume_id: str) -> Scan:
        """A volume as the network takes it; arguments as for `detect`."""
        return self._preparing.whole(image, grid, volume_id)

    def divide(self, volume: Volume) -> Division:
        """In which parts it is to be prepared: one, but for a large picture. In any thread."""
        return self._preparing.divide(volume)

    def prepare_part(self, image: Image | Voxels, division: Division, part: Part) -> Scan:
        """A part as the network takes it; of ``image`` as stored no more is read than that needs. In any thread."""
        if len(division.parts) == 1:
            return self.prepare(image, division.own_grid, division.volume_id)
        return self._preparing.part(image, division, part)

    def known(self, scan: Scan) -> dict[int, Candidates]:
        """The windows that need no look, by number: background, in which the network sees nothing."""
        return {**scan.known, **(self._background.known(scan) if self._background else {})}

    def look(self, windows: Sequence[Window], full: int) -> list[Candidates]:
        """What windows of one size own, one entry each, on the device.

        Args:
            windows: of any scans.
            full: with how many windows the network is to be given them; some are repeated to reach it.
        """
        return self._look(self._in_half, windows, full)

    def finish(self, scan: Scan, found: Mapping[int, Candidates]) -> Detections:
        """The detections of a scan, all of whose windows own ``found``, by number; see `detect`. ``scan`` may be any
        part of it."""
        return self._told(scan, self._detections(scan, found))

    def found_in(self, scan: Scan, full: int = 0) -> dict[int, Candidates]:
        """What the windows of a scan, or of a part, own, by number; ``full`` as for `look`.

        As long as the precision is not settled they are seen in both. Half precision counts where it may: what is
        found then does not depend on which scans come first, nor on how many workers there are.
        """
        known = self.known(scan)
        wanted = [(scan, number) for number in scan.part.numbers if number not in known]
        if self._half is None or self._half.settled or not wanted:
            return known | self._seen(wanted, full, self._in_half)
        exact, quick = (known | self._seen(wanted, full, half) for half in (False, True))
        self._half.compare(self._detections(scan, exact), self._detections(scan, quick), scan.is_whole)
        return exact if self._half.refused else quick

    def _seen(self, wanted: Sequence[Window], full: int, half: bool) -> dict[int, Candidates]:
        size = full or self.config.inference.batch_size
        batches = (wanted[first : first + size] for first in range(0, len(wanted), size))
        pairs = ((batch, self._look(half, batch, full)) for batch in batches)
        return {number: one for batch, found in pairs for (_, number), one in zip(batch, found, strict=True)}

    @property
    def _in_half(self) -> bool:
        return self._half is not None and not self._half.refused

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


def score_cases(detector: VolumeDetector, cases: Sequence[Case], progress: Progress | None = None) -> list[ScoredCase]:
    """Detect on every case; its annotations come along."""
    scored = []
    for n, case in enumerate(cases):
        preprocessing = preprocessing_of(case, detector.config.preprocessing)
        detections = detector.detect(case.array, case.grid, case.volume.volume_id, preprocessing)
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
    scan = Scan.of(volume_id, image.to(device), network_grid, grid, config, network.coarsest_stride)
    windows = [(scan, number) for number in range(len(scan))]
    batches = (windows[first : first + inference.batch_size] for first in range(0, len(windows), inference.batch_size))
    return detections_of(scan, [found for batch in batches for found in look(network, config, batch)], config)


def _running(network: Detector, compile_it: bool) -> Detector:
    if not compile_it:
        return fused(network)
    from pipeline.detectors.compiled import compiled

    return compiled(fused(network))
