"""What is annotated: how many objects, how large, how near to each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from scipy.spatial import cKDTree

from pipeline.config.transforms import Percentiles, PreprocessingConfig
from pipeline.geometry import Boxes
from pipeline.planning.spread import Spread, spreads
from pipeline.transforms.preprocessing import network_grid
from pipeline.volumes import UNLABELLED, Annotations, Volume

# Axes as the network sees them (3D: nearest to R, A, S), spacing as acquired.
AS_ACQUIRED = PreprocessingConfig(intensity=Percentiles())
_CENTRED = 0.1
_RIVALS = 8


@dataclass(frozen=True)
class ObjectFacts:
    """Of the objects that count (not to be ignored), along the network's axes, lengths in the grid's unit.

    ``size`` has one `Spread` an axis, ``extent`` the largest edge, both of annotated boxes only: empty and `None` where
    all are points. ``neighbour`` is the distance to the nearest other centre in the scan; ``overlap`` the 99th
    percentile of each box's largest IoU with another. ``scan_size_spread`` is the standard deviation of the log of a
    scan's median object size. ``centred`` is the share of annotated scans with objects whose objects' common box has
    its middle within a tenth of the scan's edge from the scan's middle. ``share_of_volume`` is what the objects would
    take of a scan if all were as large as its median one: a single confluent lesion does not make a scan dense.
    """

    count: int
    classes: dict[str, int]
    scans: int
    scans_without: int
    scans_of_one: int
    per_scan: Spread
    size: tuple[Spread, ...]
    extent: Spread | None
    neighbour: Spread | None
    overlap: float
    scan_size_spread: float
    centred: float
    share_of_volume: float

    @property
    def from_points(self) -> bool:
        """Whether no size is known at all."""
        return self.extent is None

    @property
    def named(self) -> dict[str, int]:
        """``classes`` without the objects whose class nobody knows."""
        return {label: count for label, count in self.classes.items() if label != UNLABELLED}


def object_facts(volumes: Sequence[Volume]) -> ObjectFacts:
    """Measure the annotations of ``volumes``."""
    placed = [_placed(volume) for volume in volumes]
    counts = [len(boxes) for boxes, _ in placed]
    measured = [boxes for boxes, points in placed if not points and len(boxes)]
    sizes = np.concatenate([boxes.sizes_world for boxes in measured]) if measured else np.zeros((0, 1))
    medians = [float(np.median(boxes.sizes_world.max(axis=1))) for boxes in measured]
    middles = [_is_centred(boxes) for boxes, _ in placed if len(boxes)]
    overlaps = np.concatenate([_overlaps(boxes) for boxes in measured]) if measured else np.zeros(0)
    shares = [len(boxes) * float(np.median(boxes.sizes.prod(axis=1))) / prod(boxes.grid.shape) for boxes in measured]
    per_scan = Spread.of(counts)
    assert per_scan is not None
    return ObjectFacts(
        count=sum(counts),
        classes=dict(sorted(Counter(label for volume in volumes for label in _labels(volume)).items())),
        scans=len(volumes),
        scans_without=counts.count(0),
        scans_of_one=counts.count(1),
        per_scan=per_scan,
        size=spreads(sizes) if measured else (),
        extent=Spread.of(sizes.max(axis=1)) if measured else None,
        neighbour=Spread.of(_neighbours([boxes for boxes, _ in placed])),
        overlap=float(np.percentile(overlaps, 99)) if len(overlaps) else 0.0,
        scan_size_spread=float(np.std(np.log(medians))) if len(medians) > 1 else 0.0,
        centred=float(np.mean(middles)) if middles else 0.0,
        share_of_volume=float(np.median(shares)) if shares else 0.0,
    )


def _placed(volume: Volume) -> tuple[Boxes, bool]:
    marks = _marks(volume)
    grid = network_grid(volume.grid, AS_ACQUIRED)
    return Boxes(marks.boxes.lower, marks.boxes.upper, volume.grid)[~marks.ignore].to(grid), marks.from_points


def _marks(volume: Volume) -> Annotations:
    assert volume.annotations is not None
    return volume.annotations


def _labels(volume: Volume) -> list[str]:
    marks = _marks(volume)
    return [label for label, ignored in zip(marks.labels, marks.ignore, strict=True) if not ignored]


def _neighbours(every: Sequence[Boxes]) -> np.ndarray:
    found = [cKDTree(b.centres_world).query(b.centres_world, k=2)[0][:, 1] for b in every if len(b) > 1]
    return np.concatenate(found) if found else np.zeros(0)


def _overlaps(boxes: Boxes) -> np.ndarray:
    """Each box's largest IoU with one of the eight whose centres are nearest, ``(n,)``."""
    if len(boxes) < 2:
        return np.zeros(len(boxes))
    rivals = min(_RIVALS + 1, len(boxes))
    nearest = cKDTree(boxes.centres_world).query(boxes.centres_world, k=rivals)[1][:, 1:]
    lower = np.maximum(boxes.lower[:, None], boxes.lower[nearest])
    upper = np.minimum(boxes.upper[:, None], boxes.upper[nearest])
    shared = np.clip(upper - lower, 0, None).prod(axis=2)
    volume = boxes.sizes.prod(axis=1)
    total = volume[:, None] + volume[nearest] - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0).max(axis=1)


def _is_centred(boxes: Boxes) -> bool:
    shape = np.array(boxes.grid.shape)
    middle = (boxes.lower.min(axis=0) + boxes.upper.max(axis=0)) / 2
    return bool((np.abs(middle - (shape - 1) / 2) <= _CENTRED * shape)[:2].all())
