"""A case: the unit that is detected on, scored and counted. A whole volume, or a window of one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.config.data import DataConfig, RandomOffsetWindows
from pipeline.datasets.instances import Instances
from pipeline.geometry import Boxes, Grid
from pipeline.types import Image
from pipeline.volumes import Annotations, Volume


@dataclass(frozen=True, eq=False)
class Case:
    """``volume.array[:, lower:upper]`` as a scan of its own.

    ``lower`` and ``upper`` are voxel indices on the volume's grid, ``upper`` exclusive. An object whose centre lies
    outside the case, but whose box reaches in, is to be ignored: neither missed nor a false positive.
    """

    case_id: str
    volume: Volume
    lower: tuple[int, ...]
    upper: tuple[int, ...]

    @classmethod
    def whole(cls, volume: Volume) -> "Case":
        return cls(volume.volume_id, volume, (0,) * volume.grid.dims, volume.grid.shape)

    @property
    def is_whole(self) -> bool:
        return self.lower == (0,) * len(self.lower) and self.upper == self.volume.grid.shape

    @property
    def patient_key(self) -> str:
        return self.volume.patient_key

    @cached_property
    def grid(self) -> Grid:
        return self.volume.grid.crop(self.lower, self.upper)

    @property
    def array(self) -> Image:
        """Voxels ``(channel, i, j[, k])``, mapped from disk."""
        region = tuple(slice(low, up) for low, up in zip(self.lower, self.upper, strict=True))
        return self.volume.array[(slice(None), *region)]

    @cached_property
    def annotations(self) -> Annotations:
        """The volume's annotations on the case's own grid."""
        given, touches = self._given, self._touching
        offset = np.array(self.lower, dtype=np.float64)
        boxes = Boxes(given.boxes.lower - offset, given.boxes.upper - offset, self.grid)
        outside = ~self.grid.contains(boxes.centres)
        if self.is_whole:
            outside[:] = False  # a whole volume keeps what its annotator put on its very edge
        labels = tuple(label for label, keep in zip(given.labels, touches, strict=True) if keep)
        grades = None if given.grades is None else given.grades[touches]
        return Annotations(boxes[touches], labels, (given.ignore | outside)[touches], given.from_points, grades)

    @cached_property
    def instances(self) -> Instances | None:
        """Which voxel belongs to which of `annotations`; `None` where they have no masks."""
        if not len(self._given):
            return Instances.none(self.grid)
        if self.volume.label_map is None:
            return None
        return Instances(self.volume.label_map, self.grid, self.lower, self._touching, self.volume.name)

    @cached_property
    def _touching(self) -> np.ndarray:
        """Which of the volume's annotations reach into the case, bool ``(n,)``."""
        boxes = self._given.boxes
        return np.all((boxes.upper > np.array(self.lower) - 0.5) & (boxes.lower < np.array(self.upper) - 0.5), axis=1)

    @property
    def _given(self) -> Annotations:
        given = self.volume.annotations
        assert given is not None, f"case {self.case_id} comes from a volume without annotations"
        return given

    def fingerprint(self, masks: bool = False) -> bytes:
        """Which voxels, and everything that was said of them: changes with any change of an annotation.

        With ``masks`` also with any change of the volume's label map that leaves the boxes as they are.
        """
        marks = self.annotations
        said = f"{self.case_id}:{marks.labels}:{marks.ignore.tolist()}:{marks.from_points}"
        boxes = marks.boxes.lower.tobytes() + marks.boxes.upper.tobytes()
        drawn = self.volume.label_map.content if masks and self.volume.label_map is not None else ""
        graded = b"" if marks.grades is None else marks.grades.tobytes()
        return said.encode() + boxes + drawn.encode() + graded


def make_cases(config: DataConfig, volumes: Sequence[Volume], seed: int) -> tuple[Case, ...]:
    """The cases that annotated volumes give under ``config.cases``."""
    if not isinstance(config.cases, RandomOffsetWindows):
        return tuple(Case.whole(volume) for volume in volumes)
    return tuple(case for volume in volumes for case in _windows(config.cases, volume, seed))


def _windows(config: RandomOffsetWindows, volume: Volume, seed: int) -> list[Case]:
    boxes = volume.annotations.boxes if volume.annotations is not None else Boxes.empty(volume.grid)
    if len(boxes) == 0:
        return [Case.whole(volume)]
    shape = volume.grid.shape  # beyond which boxes may reach
    lower = np.clip(np.floor(boxes.lower.min(axis=0) + 0.5).astype(int), 0, shape)
    upper = np.clip(np.ceil(boxes.upper.max(axis=0) + 0.5).astype(int), 0, shape)
    rng = np.random.default_rng([seed, int(volume.volume_id[:8], 16)])
    cases = [_window_with_lesion(config, volume, lower, upper, rng)]
    beside = _largest_strip_beside(volume, lower, upper)
    if beside is not None and min(beside[1][:2] - beside[0][:2]) >= config.minimum_px:
        cases.append(window_of(volume, "beside", *beside))
    return cases


def _window_with_lesion(
    config: RandomOffsetWindows, volume: Volume, lower: np.ndarray, upper: np.ndarray, rng: np.random.Generator
) -> Case:
    """A window that holds ``lower:upper`` whole, at an offset drawn evenly from all that do."""
    shape = np.array(volume.grid.shape)
    size = shape.copy()
    size[:2] = np.maximum(np.round(shape[:2] * config.share).astype(int), np.minimum(upper - lower + 2, shape)[:2])
    first = np.maximum(upper - size, 0)
    last = np.minimum(lower, shape - size)
    start = np.array([rng.integers(min(a, b), max(a, b) + 1) for a, b in zip(first, last, strict=True)])
    return window_of(volume, "offset", start, start + size)


def _largest_strip_beside(volume: Volume, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The largest slab along i or j that keeps one voxel away from ``lower:upper``."""
    shape = np.array(volume.grid.shape)
    strips = []
    for axis in (0, 1):
        before = (np.zeros_like(shape), np.where(np.arange(len(shape)) == axis, lower - 1, shape))
        after = (np.where(np.arange(len(shape)) == axis, upper + 1, 0), shape.copy())
        strips += [before, after]
    strips = [(a, b) for a, b in strips if (b > a).all()]
    return max(strips, key=lambda strip: float((strip[1] - strip[0]).prod()), default=None)


def window_of(volume: Volume, kind: str, lower: Sequence[int] | np.ndarray, upper: Sequence[int] | np.ndarray) -> Case:
    """``volume.array[:, lower:upper]`` as a case; ``kind`` is part of its name."""
    low, up = tuple(int(n) for n in lower), tuple(int(n) for n in upper)
    name = hashlib.sha256(f"{volume.volume_id}:{low}:{up}".encode()).hexdigest()[:8]
    return Case(f"{volume.volume_id}-{kind}-{name}", volume, low, up)
