"""A scan as its source gives it: voxels on their grid, before the store."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from pipeline.errors import GeometryError
from pipeline.geometry import Grid
from pipeline.volumes.arrays import Voxels, content_digest
from pipeline.volumes.read import voxel_digest
from pipeline.volumes.store import volume_name

# The largest volume that is read, in bytes of its decoded voxels. A header that claims more is refused before
# anything is allocated.
VOLUME_BYTES = 4 << 30
# A place beyond these is a damaged header's: a tenth of a nanometre to 10 m from voxel to voxel, a kilometre away.
_SMALLEST_STEP_MM, _LARGEST_STEP_MM, _FARTHEST_MM = 1e-7, 1e4, 1e6


@dataclass(frozen=True)
class RefusedFiles:
    """Files of a unit that are in none of its volumes, and why; ``ignored`` where nothing is wrong with them."""

    files: tuple[str, ...]
    reason: str
    outcome: Literal["quarantined", "ignored"] = "quarantined"


@dataclass(frozen=True, eq=False)
class LoadedScan:
    """One volume read from files.

    ``image`` is ``(channel, i, j[, k])``, an array or a reader of its regions; ``grid`` says where it lies.
    ``patient_id`` is the source's own and never leaves the process but as a keyed hash. ``notes`` are remarks on what
    was accepted; ``files`` are the paths that it was read from, ``copies`` those that hold the same again, ``digests``
    the SHA-256 of files whose bytes were at hand. ``part`` tells this volume from the others of
    the same series or file ("b-value 1000 s/mm2", "phase 2 of 5"); it is empty where there is only one. ``content`` is
    the voxels' own digest, where it is known.

    Raises:
        GeometryError: a place or a spacing in mm that no device has.
    """

    image: Voxels
    grid: Grid
    modality: str
    attributes: dict[str, str] = field(default_factory=dict)
    patient_id: str | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False)
    copies: tuple[str, ...] = field(default=(), repr=False)
    digests: dict[str, str] = field(default_factory=dict, repr=False)
    part: str = ""
    content: str = ""

    def __post_init__(self) -> None:
        if self.grid.unit != "mm":
            return
        steps, farthest = self.grid.spacing, float(np.abs(self.grid.affine[:-1, -1]).max())
        if steps.min() < _SMALLEST_STEP_MM or steps.max() > _LARGEST_STEP_MM or farthest > _FARTHEST_MM:
            raise GeometryError(
                f"no device has voxels of {' x '.join(f'{step:g}' for step in steps)} mm that lie {farthest:g} mm from "
                "the origin: the header is damaged"
            )

    @cached_property
    def volume_id(self) -> str:
        """Names voxels and grid; ``content`` is the voxels' digest where they were written already."""
        return voxel_digest(self.content or content_digest(self.image), self.grid)

    @property
    def name(self) -> str:
        """Safe to show: modality, start of the digest, shape."""
        return volume_name(self.modality, self.volume_id, self.grid.shape)
