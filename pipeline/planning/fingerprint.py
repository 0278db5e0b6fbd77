"""The fingerprint of a data set: every number that a rule may look at, from training and validation scans alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.planning.intensities import IntensityFacts, intensity_facts
from pipeline.planning.objects import AS_ACQUIRED, ObjectFacts, object_facts
from pipeline.planning.spread import Spread, spreads
from pipeline.transforms.preprocessing import network_grid
from pipeline.volumes import Volume


@dataclass(frozen=True)
class Fingerprint:
    """``shape`` (voxels), ``spacing`` and ``length`` (their product, a scan's edge) have one `Spread` an axis, along
    the network's axes (3D: nearest to R, A, S).

    ``unit``, ``mm`` or ``px``, is that of every length. ``scans`` are those that were measured, ``held_back`` the test
    scans, which were not; ``left_out`` are on no side. ``annotated_by`` counts scans by the form of their
    annotation (`forms`), the test scans too, since the match rule must suit them. ``patients`` is `None` where no
    patient is known.
    """

    dims: int
    unit: str
    channels: int
    modalities: dict[str, int]
    scans: int
    held_back: int
    left_out: int
    patients: int | None
    annotated_by: dict[str, int]
    shape: tuple[Spread, ...]
    spacing: tuple[Spread, ...]
    length: tuple[Spread, ...]
    objects: ObjectFacts
    intensity: IntensityFacts

    @property
    def anisotropy(self) -> float:
        """Largest over smallest median spacing."""
        middle = [one.p50 for one in self.spacing]
        return max(middle) / min(middle)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "intensity": self.intensity.to_json()}


def take_fingerprint(
    volumes: Sequence[Volume],
    channels: int,
    patients: int | None,
    held_back: Sequence[Volume] = (),
    left_out: int = 0,
) -> Fingerprint:
    """Measure annotated scans of one kind.

    Args:
        volumes: training and validation; their order does not matter.
        channels: that differ.
        patients: how many they are of; `None` where no patient is known.
        held_back: test scans, of which only the number and the form of their annotations are taken.
        left_out: how many annotated scans the split puts on no side.
    """
    ordered = sorted(volumes, key=lambda volume: volume.volume_id)
    grids = [network_grid(volume.grid, AS_ACQUIRED) for volume in ordered]
    return Fingerprint(
        dims=grids[0].dims,
        unit=grids[0].unit,
        channels=channels,
        modalities=_counted(Counter(volume.modality for volume in ordered)),
        scans=len(ordered),
        held_back=len(held_back),
        left_out=left_out,
        patients=patients,
        annotated_by=forms([*ordered, *held_back]),
        shape=spreads(np.array([grid.shape for grid in grids])),
        spacing=spreads(np.array([grid.spacing for grid in grids])),
        length=spreads(np.array([grid.shape * grid.spacing for grid in grids])),
        objects=object_facts(ordered),
        intensity=intensity_facts(ordered),
    )


def forms(volumes: Sequence[Volume]) -> dict[str, int]:
    """How many scans are annotated by ``points``, ``boxes``, ``masks``; ``nothing`` are those without an object."""
    return _counted(Counter(_form(volume) for volume in volumes))


def _form(volume: Volume) -> str:
    assert volume.annotations is not None
    if not len(volume.annotations):
        return "nothing"
    if volume.annotations.from_points:
        return "points"
    return "masks" if volume.label_map_path is not None else "boxes"


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
