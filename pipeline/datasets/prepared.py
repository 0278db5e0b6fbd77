"""Network input kept on disk, so that a patch costs a read of the patch and not of the scan."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.transforms import PreprocessingConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.instances import Instances
from pipeline.datasets.mapped import MappedArray
from pipeline.geometry import Boxes
from pipeline.transforms.preprocessing import cache_key, network_grid, prepare
from pipeline.types import Image
from pipeline.volumes import UNLABELLED, Volume


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """One training case: ``image`` float16 ``(channel, i, j[, k])`` read from disk by region, its objects on its grid.

    ``labels`` ``(n,)`` are indices into the experiment's classes, -1 where the object has no class. ``instances`` are
    the objects' masks on the volume's own grid, `None` where they have none.
    """

    image: Image | MappedArray
    boxes: Boxes
    labels: np.ndarray
    ignore: np.ndarray
    instances: Instances | None = None


class PreparedStore:
    """Prepared volumes under ``folder``, keyed by source digest and preprocessing settings."""

    def __init__(self, folder: Path, config: PreprocessingConfig, classes: tuple[str, ...]) -> None:
        self.folder, self.config, self.classes = folder, config, classes

    def get(self, case: Case) -> PreparedCase:
        """The whole volume of ``case``, prepared; made on first use."""
        volume = case.volume
        annotations = case.annotations
        grid = network_grid(volume.grid, self.config)
        labels = [-1 if label == UNLABELLED else self.classes.index(label) for label in annotations.labels]
        return PreparedCase(
            self._image(volume),
            Boxes(annotations.boxes.lower, annotations.boxes.upper, volume.grid).to(grid),
            np.array(labels, dtype=np.int64),
            annotations.ignore,
            case.instances,
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


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        np.save(part, image)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).replace(path)
