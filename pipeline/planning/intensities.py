"""How bright: inside objects, around them and elsewhere; and how much that differs between scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from pipeline.geometry import Boxes
from pipeline.volumes import Volume

_SCANS = 45, 15
_WHOLE = 1 << 22  # scans up to so many voxels are read whole
_BLOCKS = 24
_BLOCK = {2: 512, 3: 64}
_KEPT = 4096  # values of each region that a scan gives
_OBJECTS = 64
_BINS = 60
_CUT_AWAY = 1 / 3
OUTER, MIDDLE = (0.5, 99.5), 50.0


@dataclass(frozen=True)
class ScanIntensity:
    """Of one scan, all its channels together: percentiles 1 and 99.8, mean, standard deviation, and grain.

    ``grain`` is the standard deviation of noise, from second differences along the first axis.
    """

    low: float
    high: float
    mean: float
    deviation: float
    grain: float


@dataclass(frozen=True)
class Histogram:
    """Shares of values inside objects and outside, in bins of equal width between ``edges``."""

    edges: tuple[float, ...]
    inside: tuple[float, ...]
    outside: tuple[float, ...]


@dataclass(frozen=True)
class IntensityFacts:
    """Percentiles 0.5, 50 and 99.5 of voxel values (of all channels) in training and validation scans; NaN of none.

    ``inside`` is the inner half of each box's edges, ``around`` twice its edges, ``outside`` what lies in no box.
    """

    inside: tuple[float, float, float]
    around: tuple[float, float, float]
    outside: tuple[float, float, float]
    dtype: str
    read: int
    scans: tuple[ScanIntensity, ...]
    histogram: Histogram

    def to_json(self) -> dict[str, object]:
        """``inside``, ``around`` and ``outside`` as lists, with `None` for NaN, which JSON does not have."""
        regions = {"inside": self.inside, "around": self.around, "outside": self.outside}
        known = {name: [None if isnan(one) else one for one in found] for name, found in regions.items()}
        return {**known, "dtype": self.dtype, "read": self.read}


@dataclass(frozen=True, eq=False)
class _Sample:
    regions: tuple[np.ndarray, np.ndarray, np.ndarray]
    scan: ScanIntensity


def intensity_facts(volumes: Sequence[Volume]) -> IntensityFacts:
    """Sample at most 45 scans with objects and 15 without, evenly among those in the order of their ids.

    Which voxels are read, their ids decide.
    """
    ordered = sorted(volumes, key=lambda volume: volume.volume_id)
    chosen = [one for found, most in zip((True, False), _SCANS, strict=True) for one in _evenly(ordered, found, most)]
    samples = [_sample(volume) for volume in chosen]
    regions = [np.concatenate([one.regions[k] for one in samples]) for k in range(3)]
    inside, around, outside = (_percentiles(values) for values in regions)
    dtype = str(np.result_type(*(volume.dtype for volume in chosen)))
    scans = tuple(one.scan for one in samples)
    return IntensityFacts(inside, around, outside, dtype, len(chosen), scans, _histogram(regions[0], regions[2]))


def _evenly(ordered: Sequence[Volume], with_objects: bool, most: int) -> list[Volume]:
    those = [one for one in ordered if bool(one.annotations) == with_objects]
    return [those[n] for n in sorted({round(k) for k in np.linspace(0, len(those) - 1, most)})] if those else []


def _histogram(inside: np.ndarray, outside: np.ndarray) -> Histogram:
    low, high = np.percentile(np.concatenate([inside, outside]), [0.1, 99.9])
    edges = np.linspace(low, max(high, low + 1), _BINS + 1)
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in (inside, outside)]
    return Histogram(tuple(edges.tolist()), tuple(shares[0].tolist()), tuple(shares[1].tolist()))


def _percentiles(values: np.ndarray) -> tuple[float, float, float]:
    if len(values) == 0:
        return (np.nan, np.nan, np.nan)
    low, middle, high = np.percentile(values, [OUTER[0], MIDDLE, OUTER[1]])
    return float(low), float(middle), float(high)


def _sample(volume: Volume) -> _Sample:
    rng = np.random.default_rng(int(volume.volume_id[:12], 16))
    assert volume.annotations is not None
    boxes = volume.annotations.boxes
    blocks = [
        (start, np.asarray(volume.array[(slice(None), *_slices(start, stop))])) for start, stop in _places(volume, rng)
    ]
    outside = [_outside(block, start, boxes) for start, block in blocks]
    values = np.concatenate([block.reshape(-1).astype(np.float32) for _, block in blocks])
    beyond = _cut_away(values)
    values = values[values > beyond]
    low, high = np.percentile(values, [1.0, 99.8])
    grain = _grain([block for _, block in blocks], beyond)
    scan = ScanIntensity(float(low), float(high), float(values.mean()), float(values.std()), grain)
    inside, around = (_near(volume, boxes, factor, rng) for factor in (0.5, 2.0))
    return _Sample((_few(inside, rng), _few(around, rng), _few(np.concatenate(outside), rng)), scan)


def _places(volume: Volume, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """First and last voxel (exclusive) of what is read: all of a small scan, blocks drawn evenly of a large one."""
    shape = np.array(volume.grid.shape)
    if shape.prod() <= _WHOLE:
        return [(np.zeros_like(shape), shape)]
    edge = np.minimum(_BLOCK[volume.grid.dims], shape)
    starts = [rng.integers(0, shape - edge + 1) for _ in range(_BLOCKS)]
    return [(start, start + edge) for start in starts]


def _slices(start: np.ndarray, stop: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def _outside(block: np.ndarray, start: np.ndarray, boxes: Boxes) -> np.ndarray:
    free = np.ones(block.shape[1:], dtype=bool)
    lower = np.clip(np.floor(boxes.lower - start + 0.5), 0, None).astype(int)
    upper = np.ceil(boxes.upper - start + 0.5).astype(int)
    for low, up in zip(lower, upper, strict=True):
        if (up > 0).all():
            free[_slices(low, up)] = False
    return block[:, free].reshape(-1).astype(np.float32)


def _near(volume: Volume, boxes: Boxes, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Values in boxes whose edges are ``factor`` times as long, of at most 64 objects; at least one voxel of each."""
    shape = np.array(volume.grid.shape)
    chosen = np.sort(rng.permutation(len(boxes))[:_OBJECTS])
    found = [np.zeros(0, dtype=np.float32)]
    for centre, size in zip(boxes.centres[chosen], boxes.sizes[chosen], strict=True):
        half = size * factor / 2
        low = np.clip(np.ceil(centre - half - 1e-6), 0, shape - 1).astype(int)
        up = np.clip(np.floor(centre + half + 1e-6) + 1, low + 1, shape).astype(int)
        found.append(np.asarray(volume.array[(slice(None), *_slices(low, up))], dtype=np.float32).reshape(-1))
    return np.concatenate(found)


def _few(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values if len(values) <= _KEPT else values[rng.integers(0, len(values), _KEPT)]


def _cut_away(values: np.ndarray) -> float:
    """The darkest value, where a third or more of a scan has it: what was cut away, around a brain for one; else less
    than any."""
    darkest = values.min()
    share = (values == darkest).mean()
    return float(darkest) if _CUT_AWAY <= share < 1 else -np.inf


def _grain(blocks: Sequence[np.ndarray], beyond: float) -> float:
    """Standard deviation of white noise whose second differences have this median size (0.6745 sigma, sqrt(6)).

    Only around values above ``beyond``.
    """
    found = [np.zeros(0, dtype=np.float32)]
    for block in blocks:
        if block.shape[1] > 2:
            values = block.astype(np.float32)
            found.append(np.abs(np.diff(values, n=2, axis=1))[values[:, 1:-1] > beyond])
    steps = np.concatenate(found)
    return float(np.median(steps) / (0.6745 * np.sqrt(6))) if len(steps) else 0.0
