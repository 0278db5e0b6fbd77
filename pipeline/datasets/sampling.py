"""Training patches: drawn by number, so that patch 1234 of a run is the same whenever it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from pipeline.config.data import GradeConfig
from pipeline.config.detector import StarOutline
from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.instances import UNKNOWN
from pipeline.datasets.prepared import PreparedCase
from pipeline.datasets.samples import Objects
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes
from pipeline.transforms.augmentation import Augmentation
from pipeline.types import LabelMap


@dataclass(frozen=True, eq=False)
class Patch:
    """A patch, and the objects that reach into it.

    ``boxes`` lie on the patch's own grid, whose affine still leads to the world of the scan, through cutting, flips,
    turns and zoom. ``instances`` and ``grades`` are as in `Objects`, `None` where they are not learnt.
    """

    image: torch.Tensor
    boxes: Boxes
    labels: np.ndarray
    ignore: np.ndarray
    instances: LabelMap | None
    grades: np.ndarray | None = None


class PatchDataset(Dataset[tuple[torch.Tensor, Objects]]):
    """Patch ``n`` depends on the training's seed and on ``n`` alone, not on which worker draws it or when.

    Raises:
        DatasetError: outlines are to be learnt, and a case has objects without masks; or a grade, and no object has
            one.
    """

    def __init__(self, cases: Sequence[PreparedCase], config: ExperimentConfig) -> None:
        self.cases, self.config = cases, config
        self._outlined = isinstance(config.detector.outline, StarOutline)
        if self._outlined:
            _check_masks(cases)
        if config.data.grade is not None:
            _check_grades(cases, config.data.grade)
        self._augment = Augmentation(config.augmentation, config.data.dims)
        self._with_objects = [n for n, case in enumerate(cases) if (~case.ignore).any()]

    def __len__(self) -> int:
        return self.config.sampling.samples_per_epoch

    def __getitem__(self, number: int) -> tuple[torch.Tensor, Objects]:
        patch = self.draw(number)
        return patch.image, Objects(
            torch.as_tensor(patch.boxes.lower, dtype=torch.float32),
            torch.as_tensor(patch.boxes.upper, dtype=torch.float32),
            torch.as_tensor(patch.labels),
            torch.as_tensor(patch.ignore),
            None if patch.instances is None else torch.as_tensor(patch.instances),
            None if patch.grades is None else torch.as_tensor(patch.grades, dtype=torch.float32),
        )

    def draw(self, number: int) -> Patch:
        """Patch ``number``."""
        rng = np.random.default_rng([self.config.training_seed, number])
        case, centre = self._place(rng)
        patch = np.array(self.config.sampling.patch)
        start = np.round(centre - patch / 2 + 0.5).astype(int)
        image = _cut(case.image, start, start + patch)
        grid = case.boxes.grid.crop(tuple(start.tolist()), tuple((start + patch).tolist()))
        boxes = Boxes(case.boxes.lower - start, case.boxes.upper - start, grid)
        near = np.all((boxes.upper > -0.5) & (boxes.lower < patch - 0.5), axis=1)
        image, boxes = self._augment(image, boxes[near], int(rng.integers(2**32)))
        instances = None
        if self._outlined and case.instances is not None:
            numbers = np.where(near, np.cumsum(near), 0).tolist()
            renumbered = np.array([0, *numbers, UNKNOWN], dtype=np.int32)  # the last one, index -1, stays unknown
            instances = renumbered[case.instances.on(boxes.grid, grid)]
        grades = None if case.grades is None else case.grades[near]
        return Patch(image, boxes, case.labels[near], case.ignore[near], instances, grades)

    def _place(self, rng: np.random.Generator) -> tuple[PreparedCase, np.ndarray]:
        """A case and the patch's centre in its voxels: near an object, or anywhere."""
        sampling = self.config.sampling
        patch = np.array(sampling.patch)
        if self._with_objects and rng.random() < sampling.object_share:
            case = self.cases[self._with_objects[rng.integers(len(self._with_objects))]]
            chosen = rng.choice(np.flatnonzero(~case.ignore))
            # Anywhere in the patch but its outermost tenth: an object's place must say nothing.
            return case, case.boxes.centres[chosen] + rng.uniform(-0.4, 0.4, len(patch)) * patch
        case = self.cases[int(rng.integers(len(self.cases)))]
        shape = np.array(case.image.shape[1:])
        spare = np.maximum(shape - patch, 0)
        return case, (shape - 1) / 2 + rng.uniform(-0.5, 0.5, len(patch)) * spare


def _check_masks(cases: Sequence[PreparedCase]) -> None:
    without = sum(case.instances is None for case in cases)
    if without:
        raise DatasetError(
            f"detector.outline star learns from masks, and {without} of {len(cases)} training cases are annotated with "
            "boxes or points only: use detector.outline.kind=box, or give label maps or polygons"
        )


def _check_grades(cases: Sequence[PreparedCase], grade: GradeConfig) -> None:
    known = [one[~case.ignore & ~np.isnan(one)] for case in cases if (one := case.grades) is not None]
    if not sum(map(len, known)):
        raise DatasetError(
            f"data.grade learns {grade.name} from the attribute {grade.attribute!r}, and none of {len(cases)} training "
            "cases has an object with a known one: name another attribute, ingest the archive again if its index has "
            "got the column since, or leave out data.grade"
        )


class NumberSampler(Sampler[int]):
    """The patch numbers of one epoch: ``epoch * length`` onwards. Lightning calls `set_epoch`."""

    def __init__(self, length: int) -> None:
        self.length, self.epoch = length, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.length, (self.epoch + 1) * self.length))


def _cut(image: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> torch.Tensor:
    """``image[:, lower:upper]`` as float32; what lies outside repeats the border."""
    shape = np.array(image.shape[1:])
    inner = tuple(
        slice(low, up) for low, up in zip(np.clip(lower, 0, shape - 1), np.clip(upper, 1, shape), strict=True)
    )
    cut = np.asarray(image[(slice(None), *inner)], dtype=np.float32)
    pads = [(0, 0)]
    for low, up, n in zip(lower, upper, shape, strict=True):
        before = min(max(-low, 0), up - low - 1)
        pads.append((int(before), 0 if up <= n else int(min(up - n, up - low - 1))))
    if any(pad != (0, 0) for pad in pads):
        cut = np.pad(cut, pads, mode="edge")
    return torch.from_numpy(np.ascontiguousarray(cut))
