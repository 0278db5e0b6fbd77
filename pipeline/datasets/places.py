"""Where patches are centred: near an object, near a false detection, or anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.transforms import SamplingConfig
from pipeline.datasets.prepared import PreparedCase
from pipeline.errors import DatasetError
from pipeline.types import Points


@dataclass(frozen=True, eq=False)
class Place:
    """``patch voxel`` ``at`` ``(d,)``, counted from the patch's middle, shows voxel ``centre`` ``(d,)`` of a case."""

    case: int
    centre: np.ndarray
    at: np.ndarray


class Places:
    """Draws places; holds a few numbers for each object, and nothing for a scan without any."""

    def __init__(self, cases: Sequence[PreparedCase], config: SamplingConfig) -> None:
        self._cases, self._config = cases, config
        asked = [np.flatnonzero(~case.ignore) for case in cases]
        case = np.repeat(np.arange(len(cases)), [len(one) for one in asked])
        number = np.concatenate([*asked, np.zeros(0, dtype=np.int64)]).astype(np.int64)
        label = np.concatenate([*(one.labels[own] for one, own in zip(cases, asked, strict=True)), np.zeros(0)])
        self._objects = _Pool(case, number)
        self._classes = [_Pool(case[label == one], number[label == one]) for one in np.unique(label[label >= 0])]
        self._false = _Pool(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        self._false_at: tuple[Points, ...] = ()

    def set_hard_negatives(self, world: Sequence[Points]) -> None:
        """Take ``(n, d)`` world places of false detections, one array a case, in the order of the cases."""
        if len(world) != len(self._cases):
            raise DatasetError(
                f"hard negatives: expected places for each of {len(self._cases)} cases, got {len(world)}"
            )
        self._false_at = tuple(case.boxes.grid.to_voxel(at) for case, at in zip(self._cases, world, strict=True))
        counts = [len(at) for at in world]
        number = np.concatenate([*(np.arange(n) for n in counts), np.zeros(0)]).astype(np.int64)
        self._false = _Pool(np.repeat(np.arange(len(world)), counts), number)

    def draw(self, rng: np.random.Generator) -> Place:
        config = self._config
        patch = np.array(config.patch)
        kind, balance = rng.random(2)
        # Anywhere in the patch but its outermost tenth: an object's place must say nothing.
        at = rng.uniform(-0.4, 0.4, len(patch)) * patch
        hard = config.hard_negative_share if len(self._false) else 0.0
        if kind < hard:
            case, number = self._false.draw(rng, self._evenly)
            return Place(case, self._false_at[case][number], at)
        if len(self._objects) and (kind - hard) < config.object_share * (1 - hard):
            balanced = self._classes and balance < config.class_balance
            pool = self._classes[int(rng.integers(len(self._classes)))] if balanced else self._objects
            case, number = pool.draw(rng, self._evenly)
            boxes = self._cases[case].boxes
            return Place(case, (boxes.lower[number] + boxes.upper[number]) / 2, at)
        return self._anywhere(int(rng.integers(len(self._cases))), rng)

    def _anywhere(self, case: int, rng: np.random.Generator) -> Place:
        patch, shape = np.array(self._config.patch), np.array(self._cases[case].image.shape[1:])
        spare = np.maximum(shape - patch, 0)
        return Place(case, (shape - 1) / 2 + rng.uniform(-0.5, 0.5, len(patch)) * spare, np.zeros(len(patch)))

    @property
    def _evenly(self) -> bool:
        return self._config.each_counts == "volume"


class _Pool:
    """Numbered things in cases; ``case`` ``(n,)`` ascends."""

    def __init__(self, case: np.ndarray, number: np.ndarray) -> None:
        self._case, self._number = case, number
        starts = np.flatnonzero(np.diff(case, prepend=-1))
        self._spans = np.stack([starts, np.append(starts[1:], len(case))[: len(starts)]], axis=1)

    def __len__(self) -> int:
        return len(self._case)

    def draw(self, rng: np.random.Generator, evenly: bool) -> tuple[int, int]:
        """A case and a number in it; ``evenly`` over the cases that have any, else over all numbers."""
        first, end = self._spans[int(rng.integers(len(self._spans)))] if evenly else (0, len(self._case))
        chosen = int(rng.integers(first, end))
        return int(self._case[chosen]), int(self._number[chosen])
