"""Windows that hold nothing but air, padding or glass: the network need not see them.

Such a window lies whole within the lowest or the highest 5 % of the network's input: of a CT window of -1000 … 400 HU
that is below -930 HU, of an 8-bit picture above 242. Whatever lies in it has at most a twentieth of the contrast that
the input can show. That is not enough to say that the network finds nothing there; so the network is asked, once for
each size of window and each end: constant windows, and noise of six grains from one voxel to blobs of 32, with all the
contrast that is left. If it gives a single candidate, even one far below the threshold, no window is left out. The
answer depends on the network alone, not on the scans: a run that is stopped and taken up again leaves out the same.

The glass of a slide is rarely as bright as that; see `pipeline.inference.glass`, which asks here about its own range.
"""

import logging
from collections.abc import Iterator

import torch
from torch.nn import functional

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import Candidates, Detector, View
from pipeline.detectors.turns import turns_of
from pipeline.inference.scan import Scan

_LOG = logging.getLogger(__name__)

# Of the input's range of 2.
_BAND = 0.1
_GRAINS = (1, 2, 4, 8, 16, 32)

Size = tuple[int, ...]


def ends_of(scan: Scan) -> tuple[int, ...]:
    """For each window of a scan or a part: -1 or 1 where all of it lies at that end of the input, otherwise 0."""
    sides = [torch.stack(scan.window(number).aminmax()) for number in scan.part.numbers]
    lowest, highest = torch.stack(sides).cpu().unbind(dim=1)  # one answer of the device for all windows
    dark, bright = highest <= -1 + _BAND, lowest >= 1 - _BAND
    return tuple((bright.int() - dark.int()).tolist())


class Background:
    """Knows in which windows a network, in evaluation form, sees nothing."""

    def __init__(self, network: Detector, config: ExperimentConfig) -> None:
        self._network, self._config = network, config
        self._ends = {end: torch.tensor([[end, end * (1 - _BAND)]] * config.preprocessing.channels) for end in (-1, 1)}
        self._known: dict[tuple[Size, int], Candidates | None] = {}

    def known(self, scan: Scan) -> dict[int, Candidates]:
        """The windows that need no look, by number, with what they show: no candidate."""
        shown = {end: self._shown(scan.plan.size, end) for end in {-1, 1}.intersection(scan.ends)}
        pairs = zip(scan.part.numbers, scan.ends, strict=False)  # a part that was not prepared has no ends
        return {n: nothing for n, end in pairs if (nothing := shown.get(end)) is not None}

    def _shown(self, size: Size, end: int) -> Candidates | None:
        """No candidates, or `None` where the network sees some in a window that holds nothing."""
        if (size, end) not in self._known:
            self._known[size, end] = self.shown_in(size, self._ends[end])
        return self._known[size, end]

    def shown_in(self, size: Size, band: torch.Tensor, least: float = 0.0) -> Candidates | None:
        """What windows of ``size`` show that lie within ``band`` ``(channel, 2)``, from and to, of the network's input:
        no candidates, or `None` where the network sees some with a score of ``least``. Any thread may ask."""
        for probe in probes(size, band):
            found = self._seen(probe)
            if (found.scores >= least).any():
                _LOG.info("background is not skipped: this version sees candidates in empty windows")
                return None
        return found[found.scores >= least]

    @torch.inference_mode()
    def _seen(self, window: torch.Tensor) -> Candidates:
        device, view = next(self._network.parameters()).device, View((0,) * self._network.dims, tuple(window.shape[1:]))
        floor, turns = self._config.inference.score_floor, turns_of(self._config)
        return self._network.look(window[None].to(device), [view], floor, turns)[0]


def probes(size: Size, band: torch.Tensor) -> Iterator[torch.Tensor]:
    """Windows ``(channel, i, j[, k])`` as empty as ``band`` ``(channel, 2)`` allows; always the same."""
    random = torch.Generator().manual_seed(0)
    flat = [torch.full(size, level) for level in (0.0, 1.0)]
    grained = (_noise(size, grain, random) for grain in _GRAINS)
    first, last = (side.reshape(-1, *(1 for _ in size)) for side in band.unbind(dim=1))
    for inward in (*flat, *grained):
        yield first + (last - first) * inward


def _noise(size: Size, grain: int, random: torch.Generator) -> torch.Tensor:
    """0 … 1, alike within cubes of ``grain`` voxels."""
    coarse = torch.rand(1, 1, *(-(-n // grain) for n in size), generator=random)
    fine = functional.interpolate(coarse, scale_factor=float(grain), mode="nearest")[0, 0]
    return fine[tuple(slice(0, n) for n in size)]
