"""Windows → what each of them owns, on the network's device."""

from collections.abc import Sequence

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import Candidates, Detector
from pipeline.detectors.turns import turns_of
from pipeline.inference.scan import Scan

Window = tuple[Scan, int]
"""A scan, and the number of one of its windows."""

# Neighbouring windows may see a peak one location apart; both then claim it and suppression keeps one.
_CORE_MARGIN = 1.0


@torch.inference_mode()
def look(network: Detector, config: ExperimentConfig, windows: Sequence[Window], full: int = 0) -> list[Candidates]:
    """Give windows of one size, of any scans, to the network at once.

    Args:
        network: in evaluation form.
        config: of the network.
        windows: one or more.
        full: the least number that it is given; the first window is repeated to reach it.
    """
    given = [*windows, *[windows[0]] * (full - len(windows))]
    image = torch.stack([scan.window(number) for scan, number in given])
    views = [scan.view(number) for scan, number in given]
    found = network.look(image, views, config.inference.score_floor, turns_of(config))
    return [
        _owned(one, scan.plan.cores[number], network.stride)
        for one, (scan, number) in zip(found[: len(windows)], windows, strict=True)
    ]


def _owned(found: Candidates, core: tuple[tuple[float, float], ...], stride: tuple[int, ...]) -> Candidates:
    """Those of one window that its core owns."""
    low, high = torch.tensor(core, dtype=torch.float32, device=found.at.device).unbind(dim=1)
    margin = torch.tensor(stride, dtype=torch.float32, device=found.at.device) * _CORE_MARGIN
    return found[((found.at >= low - margin) & (found.at <= high + margin)).all(dim=1)]
