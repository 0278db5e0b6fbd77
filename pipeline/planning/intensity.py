"""How intensities become the network's -1 … 1, and how much of their variation is to be imitated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.planning.choice import Choice, number, significant
from pipeline.planning.fingerprint import Fingerprint
from pipeline.planning.intensities import ScanIntensity

# No other scale reaches below it: air is -1000, and lung lies between.
_HOUNSFIELD = -500.0
_STEP = 50
_STEADY = 1.5


@dataclass(frozen=True)
class Scaled:
    """Of the scans after scaling: standard deviations between scans of mean and of contrast; median grain."""

    mean: float
    contrast: float
    grain: float


def intensity(fingerprint: Fingerprint) -> Choice:
    """``preprocessing.intensity``: a window where a value means the same in each scan, else each scan's percentiles."""
    facts, key = fingerprint.intensity, "preprocessing.intensity"
    low, high = facts.around[0], facts.around[2]
    if set(fingerprint.modalities) == {"CT"} or facts.outside[0] < _HOUNSFIELD:
        value = {"kind": "window", "lower": _down(low), "upper": _up(high)}
        why = "CT has a fixed unit" if "CT" in fingerprint.modalities else "values as low as only Hounsfield units are"
        reason = f"{why}: percentiles 0.5 and 99.5 in and around objects, {number(low)} and {number(high)}"
        return Choice(key, value, f"{reason}, outwards to multiples of {_STEP} (nnU-Net clips CT so)")
    if facts.dtype == "uint8" and fingerprint.channels >= 3:
        value = {"kind": "window", "lower": 0, "upper": 255}
        return Choice(
            key,
            value,
            f"8-bit colour: the whole range of its {fingerprint.channels} channels, so that stains keep their tint",
        )
    highs = [one.high for one in facts.scans]
    span = float(np.percentile(highs, 90) / max(np.percentile(highs, 10), 1e-6))
    if facts.dtype == "uint8" and span < _STEADY and len(highs) > 1:
        value = {"kind": "window", "lower": 0, "upper": 255}
        return Choice(
            key,
            value,
            f"8-bit, and the scans' brightest values differ by a factor of {number(span)} only (below {_STEADY})",
        )
    reason = (
        f"no fixed unit: the scans' brightest values differ by a factor of {number(span)} (90th over 10th percentile), "
        f"so each scan is stretched by its own percentiles; objects reach {number(facts.inside[2])}, the rest "
        f"{number(facts.outside[2])}"
    )
    return Choice(key, {"kind": "percentiles", "lower": 1.0, "upper": 99.8}, reason)


def scaled(scans: Sequence[ScanIntensity], value: dict[str, float | str]) -> Scaled:
    """What is left of the differences between scans under a choice of `intensity`."""
    rows = np.array([_scaled(one, value) for one in scans])
    mean, deviation, grain = rows.T
    return Scaled(
        mean=float(mean.std()),
        contrast=float(deviation.std() / max(deviation.mean(), 1e-6)),
        grain=float(np.median(grain)),
    )


def _scaled(scan: ScanIntensity, value: dict[str, float | str]) -> tuple[float, float, float]:
    if value["kind"] == "window":
        low, high = float(value["lower"]), float(value["upper"])
    else:
        low, high = scan.low, scan.high
    factor = 2.0 / max(high - low, 1e-6)
    return float(np.clip((scan.mean - low) * factor - 1.0, -1, 1)), scan.deviation * factor, scan.grain * factor


def _down(value: float) -> int:
    return int(np.floor(significant(value, 6) / _STEP)) * _STEP


def _up(value: float) -> int:
    return int(np.ceil(significant(value, 6) / _STEP)) * _STEP
