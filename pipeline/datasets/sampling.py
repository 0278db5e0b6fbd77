"""Training patches: drawn by number, so that patch 1234 of a run is the same whenever it is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch.utils.data import Dataset, Sampler

from pipeline.config.data import GradeConfig
from pipeline.config.detector import StarOutline
from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.instances import UNKNOWN
from pipeline.datasets.mapped import MappedArray, MappedPart
from pipeline.datasets.places import Places
from pipeline.datasets.prepared import PreparedCase
from pipeline.datasets.samples import Objects
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes
from pipeline.transforms.intensity import vary_intensity
from pipeline.transforms.placement import Placement, Region
from pipeline.transforms.variation import Variation, draw_variation
from pipeline.types import Image, LabelMap, Points


@dataclass(frozen=True, eq=False)
class Patch:
    """A patch, and the objects that reach into it.

    ``boxes`` lie on the patch's own grid, whose affine still leads to the world of the scan, through cutting, flips,
    turns and zoom (but not through an elastic displacement). ``instances`` and ``grades`` are as in `Objects`, `None`
    where they are not learnt.
    """

    image: torch.Tensor
    boxes: Boxes
    labels: np.ndarray
    ignore: np.ndarray
    instances: LabelMap | None
    grades: np.ndarray | None = None


class PatchDataset(Dataset[tuple[torch.Tensor, Objects]]):
    """Patch ``n`` depends on the training's seed, on ``n`` and on the hard negatives alone, not on who draws it when.

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
        self._places = Places(cases, config.sampling)

    def __len__(self) -> int:
        return self.config.sampling.samples_per_epoch

    def set_hard_negatives(self, world: Sequence[Points]) -> None:
        """From now on `sampling.hard_negative_share` of all patches are centred near these places.

        Store them with the checkpoint and set them again before training goes on: the patches are then the same.
        Worker processes hold a copy of the data set: they must be started after this, so not be persistent.

        Args:
            world: ``(n, d)`` of false detections in world coordinates, one array for each of `cases`.
        """
        self._places.set_hard_negatives(world)

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
        place = self._places.draw(rng)
        variation = self.variation(int(rng.integers(2**32)))
        case = self.cases[place.case]
        grid, geometry = case.boxes.grid, variation.geometry
        placement = Placement.of(geometry, self.config.sampling.patch, grid.spacing)
        placement = placement.centred(place.centre - placement.linear @ place.at)
        image = vary_intensity(_read(case.image, placement), variation.intensity)
        boxes = placement.boxes(case.boxes)
        shown = np.all((boxes.upper > -0.5) & (boxes.lower < np.array(boxes.grid.shape) - 0.5), axis=1)
        instances = None
        turned = geometry.turns_boxes and _any_in(case.boxes, placement.region(grid.shape))
        if case.instances is not None and (self._outlined or turned):
            instances = case.instances.on(placement.onto(grid, case.instances.grid))
            if turned:
                boxes, shown = around_masks(boxes, shown, instances)
            instances = _renumbered(instances, shown)
        boxes = boxes[shown]
        grades = None if case.grades is None else case.grades[shown]
        return Patch(
            image, boxes, case.labels[shown], case.ignore[shown], instances if self._outlined else None, grades
        )

    def variation(self, seed: int) -> Variation:
        """What is random of a patch but its place."""
        config = self.config
        return draw_variation(config.augmentation, config.data.dims, config.preprocessing.channels, seed)


def around_masks(boxes: Boxes, shown: np.ndarray, instances: LabelMap) -> tuple[Boxes, np.ndarray]:
    """The boxes of turned objects, from their turned masks.

    An object that lies in the patch whole gets the box of its mask. One that the patch cuts keeps the box of its
    ellipsoid, enlarged to hold what is seen of its mask.

    Args:
        boxes: all of the case, ``(n,)``, as their ellipsoids turn.
        shown: which of them reach into the patch, bool ``(n,)``.
        instances: ``(i, j[, k])`` of the patch, ``n + 1`` for box ``n``.

    Returns:
        The boxes, and which of them reach into the patch: those with a voxel in it, too.
    """
    found = [(n, window) for n, window in enumerate(find_objects(np.maximum(instances, 0))) if window is not None]
    seen = np.array([n for n, _ in found], dtype=np.int64)
    edges = np.array([[(axis.start, axis.stop) for axis in window] for _, window in found])
    edges = edges.reshape(len(found), instances.ndim, 2)
    low, up = edges[..., 0] - 0.5, edges[..., 1] - 0.5
    whole = np.all((low > -0.5) & (up < np.array(instances.shape) - 0.5), axis=1)[:, None]
    lower, upper, shown = boxes.lower.copy(), boxes.upper.copy(), shown.copy()
    lower[seen] = np.where(whole, low, np.minimum(lower[seen], low))
    upper[seen] = np.where(whole, up, np.maximum(upper[seen], up))
    shown[seen] = True
    return Boxes(lower, upper, boxes.grid), shown


def _any_in(boxes: Boxes, region: Region) -> bool:
    lower, upper = (np.array(side) - 0.5 for side in region)
    return bool(np.all((boxes.upper > lower) & (boxes.lower < upper), axis=1).any())


def _renumbered(instances: LabelMap, shown: np.ndarray) -> LabelMap:
    numbers = np.where(shown, np.cumsum(shown), 0).tolist()
    return np.array([0, *numbers, UNKNOWN], dtype=np.int32)[instances]  # the last one, index -1, stays unknown


def _read(image: Image | MappedArray | MappedPart, placement: Placement) -> torch.Tensor:
    """``(channel, i, j[, k])`` float32: no more of the volume is read than the patch shows."""
    lower, upper = placement.region(image.shape[1:])
    region = tuple(slice(low, up) for low, up in zip(lower, upper, strict=True))
    return placement.image(torch.from_numpy(np.array(image[(slice(None), *region)])).float(), lower)


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
