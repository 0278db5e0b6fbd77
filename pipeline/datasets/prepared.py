"""Network input kept on disk, so that a patch costs a read of the patch and not of the scan."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.transforms import PreprocessingConfig, Window
from pipeline.datasets.cases import Case
from pipeline.datasets.instances import Instances
from pipeline.datasets.mapped import MappedArray, MappedPart
from pipeline.errors import DatasetError
from pipeline.geometry import Boxes, Grid
from pipeline.transforms.preprocessing import cache_key, network_grid, prepare, window_of
from pipeline.types import Image
from pipeline.volumes import UNLABELLED, Volume

_SLACK_VOXEL = 1e-6


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One training case: ``image`` float16 ``(channel, i, j[, k])`` read from disk by region, its objects on its grid.

    ``labels`` ``(n,)`` are indices into the experiment's classes, -1 where the object has no class. ``instances`` are
    the objects' masks on the volume's own grid, `None` where they have none. ``grades`` are as in `Annotations`.
    """

    image: Image | MappedArray | MappedPart
    boxes: Boxes
    labels: np.ndarray
    ignore: np.ndarray
    instances: Instances | None = None
    grades: np.ndarray | None = None


class PreparedStore:
    """Prepared volumes under ``folder``, keyed by source digest and preprocessing settings."""

    def __init__(self, folder: Path, config: PreprocessingConfig, classes: tuple[str, ...]) -> None:
        self.folder, self.config, self.classes = folder, config, classes

    def get(self, case: Case) -> PreparedCase:
        """``case`` as a part of its prepared volume, which is made on first use.

        Only voxels whose values come from the case alone are in it: where it ends inside the volume, those whose centre
        lies between the centres of its own voxels.
        """
        volume = case.volume
        annotations = case.annotations
        whole = network_grid(volume.grid, self.config)
        lower, upper = _part(case, whole)
        source, grid = (volume.grid, whole) if case.is_whole else (case.grid, whole.crop(lower, upper))
        prepared = self._image(volume)
        image = prepared if case.is_whole else prepared.part((0, *lower), (prepared.shape[0], *upper))
        labels = [-1 if label == UNLABELLED else self.classes.index(label) for label in annotations.labels]
        return PreparedCase(
            image,
            Boxes(annotations.boxes.lower, annotations.boxes.upper, source).to(grid),
            np.array(labels, dtype=np.int64),
            annotations.ignore,
            case.instances,
            annotations.grades,
        )

    def _image(self, volume: Volume) -> MappedArray:
        path = self.folder / f"{cache_key(volume.volume_id, self.config)}.npy"
        try:
            return MappedArray.open(path)
        except (FileNotFoundError, ValueError, EOFError):
            pass  # absent, or cut short by a full disk or a kill: make it anew
        image = prepare(volume.array[...], volume.grid, self.config).image.numpy().astype(np.float16)
        _write(path, image)
        return MappedArray.open(path)


def preprocessing_of(case: Case, config: PreprocessingConfig) -> PreprocessingConfig:
    """How ``case`` is prepared by itself so that its values are those of its part of the whole, which training sees:
    percentiles are the volume's."""
    if case.is_whole or isinstance(config.intensity, Window):
        return config
    window = window_of(np.asarray(case.volume.array[...]), config.intensity, config.channels)
    return config.model_copy(update={"intensity": window})


def _part(case: Case, grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and last voxel (exclusive) of ``grid``, the network's of the whole volume, that belong to ``case``."""
    if case.is_whole:
        return (0,) * grid.dims, grid.shape
    # The outer edge of the volume, or the centre of the outermost voxel this side of a cut.
    first = [low or -0.5 for low in case.lower]
    last = [up - (0.5 if up == n else 1.0) for up, n in zip(case.upper, case.volume.grid.shape, strict=True)]
    ends = grid.to_voxel(case.volume.grid.to_world(np.array([first, last], dtype=np.float64)))
    lower = np.clip(np.ceil(ends.min(axis=0) - _SLACK_VOXEL).astype(int), 0, None)
    upper = np.minimum(np.floor(ends.max(axis=0) + _SLACK_VOXEL).astype(int) + 1, grid.shape)
    if (upper <= lower).any():
        raise DatasetError(
            f"{case.case_id} is thinner than a voxel of preprocessing.spacing={grid.spacing.tolist()}: "
            "choose a finer one, or another data.split"
        )
    return tuple(lower.tolist()), tuple(upper.tolist())


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        np.save(part, image)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).replace(path)
