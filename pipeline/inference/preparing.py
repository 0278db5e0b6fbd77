"""Volumes as they are stored → as the network takes them, whole or part by part."""

from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.config.transforms import PreprocessingConfig, Window
from pipeline.detectors.detector import Candidates, Detector
from pipeline.geometry import Grid
from pipeline.inference.background import Background, ends_of
from pipeline.inference.glass import Glass, glass_range
from pipeline.inference.lattice import sampled
from pipeline.inference.parts import Part, parts_of
from pipeline.inference.scan import Scan
from pipeline.inference.windows import WindowPlan, pad_to, windows_of
from pipeline.transforms.along import Along
from pipeline.transforms.preprocessing import along, needed, network_grid, prepare, prepare_region, scaled, window_of
from pipeline.types import Image
from pipeline.volumes import Volume
from pipeline.volumes.arrays import Voxels

# A picture that needs more is prepared in parts, of about so many bytes each.
WHOLE_BYTES, PART_BYTES = 512 << 20, 128 << 20
# A voxel of network input while it is made: itself, what it is made from, and a step between the two.
_BYTES_A_VOXEL = 12
# A pixel of a picture that is resampled: as a number to reckon with, and halfway.
_BYTES_A_RESAMPLED = 8
# What a network may say of glass at most, of the least score of a detection: noise as strong as it is asked with is on
# no slide, and networks that never saw glass were seen to give it up to 0.6 of that.
_SURE = 2 / 3


@dataclass(frozen=True, eq=False)
class Division:
    """How a volume is prepared: in which parts, and what all of them share.

    ``working`` are the volume's voxels in the world that the network works in; ``preprocessing`` is the experiment's,
    its intensity as it applies to this volume. ``bytes_a_voxel`` of the network's grid are needed to prepare it, with
    the stored voxels themselves.
    """

    volume_id: str
    own_grid: Grid
    working: Grid
    network_grid: Grid
    plan: WindowPlan
    parts: tuple[Part, ...]
    preprocessing: PreprocessingConfig
    bytes_a_voxel: float
    glass: Glass | None = None

    def bytes_of(self, part: Part) -> int:
        """About what preparing it needs of memory."""
        return int(self.bytes_a_voxel * part.voxels)


class Preparing:
    """Prepares for one network. Any thread may call.

    Args:
        network: in evaluation form.
        config: of the network.
        device: where scans are prepared and lie.
        background: asked about glass; `None` where everything is looked at.
        threshold: the least score of a detection.
        whole_bytes: a picture that needs more to be prepared is divided.
        part_bytes: what a part needs at most, but it has one window at least.
    """

    def __init__(
        self,
        network: Detector,
        config: ExperimentConfig,
        device: torch.device,
        background: Background | None,
        threshold: float,
        whole_bytes: int = WHOLE_BYTES,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._config, self._device, self._background = config, device, background
        self._multiple, self._least = network.coarsest_stride, threshold * _SURE
        self._whole_bytes, self._part_bytes = whole_bytes, part_bytes

    def whole(
        self, image: Image | Voxels, grid: Grid, volume_id: str, preprocessing: PreprocessingConfig | None = None
    ) -> Scan:
        """All of a volume ``(channel, i, j[, k])`` on ``grid``; ``preprocessing`` instead of the network's own."""
        working = self._working(grid)
        made = prepare(image, working, preprocessing or self._config.preprocessing, self._device)
        scan = Scan.of(volume_id, made.image, made.grid, working, self._config, self._multiple)
        return self._with_ends(replace(scan, own_grid=grid))

    def divide(self, volume: Volume) -> Division:
        """Plan a volume. Of a picture in parts some pixels are read: percentiles and glass are those of a sample.

        A volume in 3D is always whole: it is resampled as a whole.
        """
        preprocessing = self._config.preprocessing
        working = self._working(volume.grid)
        network = network_grid(working, preprocessing)
        plan = windows_of(self._config, network.shape, self._multiple)
        resampled = volume.grid.dims == 2 and network is not working
        stored = volume.channels * (volume.dtype.itemsize + _BYTES_A_RESAMPLED * resampled)
        each = stored * prod(volume.grid.shape) / prod(network.shape) + _BYTES_A_VOXEL * preprocessing.channels
        planned = partial(Division, volume.volume_id, volume.grid, working, network, plan)
        if volume.grid.dims == 3 or each * prod(plan.padded) <= self._whole_bytes:
            return planned((Part.whole(plan),), preprocessing, each)
        parts = tuple(parts_of(plan, int(self._part_bytes / each)))
        shared = preprocessing.model_copy(update={"intensity": self._intensity(volume)})
        return planned(parts, shared, each, self._glass(volume, shared, plan))

    def part(self, image: Image | Voxels, division: Division, part: Part) -> Scan:
        """A part of several; ``image`` is all of the volume, as stored."""
        steps = _steps(division, part.lower, part.upper)
        stored = needed(image, steps)
        known = _glass_windows(stored, steps, division, part)
        made = torch.zeros(0)
        if len(known) < len(part.numbers):
            made = prepare_region(stored, steps, division.preprocessing, self._device)
            made = pad_to(made, tuple(high - low for low, high in zip(part.lower, part.upper, strict=True)))
        grids = division.network_grid, division.working, division.own_grid
        scan = Scan(division.volume_id, made, division.plan, part, *grids, known=known)
        return self._with_ends(scan) if made.numel() else scan

    def _working(self, grid: Grid) -> Grid:
        return Grid.of_pixels(grid.shape) if self._config.data.in_pixels else grid

    def _with_ends(self, scan: Scan) -> Scan:
        return replace(scan, ends=ends_of(scan)) if self._background else scan

    def _intensity(self, volume: Volume) -> Window:
        intensity = self._config.preprocessing.intensity
        if isinstance(intensity, Window):
            return intensity
        return window_of(sampled(volume.array), intensity, self._config.preprocessing.channels)

    def _glass(self, volume: Volume, preprocessing: PreprocessingConfig, plan: WindowPlan) -> Glass | None:
        """Of a slide in colour, where the network is shown to see nothing in its glass."""
        if self._background is None or volume.modality != "SM" or (volume.channels, volume.dtype) != (3, np.uint8):
            return None
        found = glass_range(volume.array)
        if found is None:
            return None
        low, high = found
        band = scaled(np.stack([low, high], axis=1), preprocessing)
        nothing = self._background.shown_in(plan.size, band, self._least)
        return None if nothing is None else Glass(low, high, nothing)


def _steps(division: Division, lower: tuple[int, ...], upper: tuple[int, ...]) -> tuple[Along, ...]:
    """How the voxels ``lower`` … ``upper`` of the network's grid are made; what is beyond its end is padding."""
    edges = zip(lower, upper, division.network_grid.shape, strict=True)
    region = tuple(slice(low, min(high, n)) for low, high, n in edges)
    return along(division.working, division.network_grid, region)


def _glass_windows(
    stored: np.ndarray, steps: tuple[Along, ...], division: Division, part: Part
) -> dict[int, Candidates]:
    """The windows of a part that show nothing but glass, by number; ``stored`` is what ``steps`` need."""
    glass, plan = division.glass, division.plan
    if glass is None:
        return {}
    covered = glass.covers(stored)
    known = {}
    for number in part.numbers:
        start = plan.starts[number]
        own = _steps(division, start, tuple(first + size for first, size in zip(start, plan.size, strict=True)))
        pairs = zip(own, steps, strict=True)
        within = tuple(slice(a.source.start - b.source.start, a.source.stop - b.source.start) for a, b in pairs)
        if covered[within].all():
            known[number] = glass.nothing
    return known
