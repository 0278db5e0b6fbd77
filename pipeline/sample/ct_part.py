"""The CT part of the archive: 30 series, one of each awkward kind among them, and two that must not pass."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.geometry.frames import ras_to_lps
from pipeline.sample.annotations import BoxedScan, IndexRow
from pipeline.sample.contribution import Contribution
from pipeline.sample.ct import LARGEST_MM, SMALLEST_MM, draw_ct, draw_diameters
from pipeline.sample.dicom import CtStorage, Subject, write_ct_series
from pipeline.sample.lattice import Lattice
from pipeline.sample.noise import Part, stream
from pipeline.sample.phantom import Phantom
from pipeline.sample.placement import local_to_voxel, rotation, scanner_grid
from pipeline.sample.split import split_of

SERIES = 30
WITHOUT_FINDING = frozenset({6, 14, 20, 28})
_PRONE = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class CtPlan:
    """How series ``index`` is taken and stored; ``axes_lps``: its array axes in the patient, one a column."""

    index: int
    name: str
    shape: tuple[int, int, int]
    spacing: np.ndarray
    axes_lps: np.ndarray
    centre_lps: np.ndarray
    storage: CtStorage
    diameters_mm: np.ndarray


def plan_ct(seed: int, index: int) -> CtPlan:
    """Series ``index``; each third is oblique by 10 to 25 degrees, each fourth is stored against its normal."""
    rng = np.random.default_rng([seed, int(Part.CT), index, 1])
    in_plane = round(rng.uniform(0.85, 1.15), 3)
    along_j = round(in_plane * 1.15, 3) if index % 7 == 3 else in_plane
    axes = np.eye(3)
    if index % 3 == 2:
        axes = rotation(int(rng.integers(3)), rng.choice([-1, 1]) * rng.uniform(10, 25))
    elif index % 10 == 4:
        axes = _PRONE
    return CtPlan(
        index=index,
        name=f"CT{index + 1:03d}",
        shape=((80, 80, 36), (84, 76, 34), (80, 80, 36), (76, 84, 38))[index % 4],
        spacing=np.array([in_plane, along_j, (1.5, 2.0, 2.5, 3.0)[index % 4 if index % 8 < 4 else (index + 1) % 4]]),
        axes_lps=axes,
        centre_lps=np.array([rng.choice([-75, 75]), rng.uniform(-40, 0), rng.uniform(-220, -120)]).round(1),
        storage=CtStorage(signed=index % 3 == 0, against_normal=index % 4 == 1),
        diameters_mm=_diameters(rng, index),
    )


def _diameters(rng: np.random.Generator, index: int) -> np.ndarray:
    if index in WITHOUT_FINDING:
        return np.zeros(0)
    diameters = draw_diameters(rng, int(rng.choice([1, 2, 3, 3, 4, 4])))
    # Both ends of the range are in every archive.
    if index == 3:
        diameters[0] = LARGEST_MM
    if index == 7:
        diameters[0] = SMALLEST_MM
    return diameters


def write_ct(root: Path, seed: int, index: int) -> Contribution:
    """Write series ``index`` below ``root/ct``."""
    plan = plan_ct(seed, index)
    phantom = draw_ct(stream(seed, Part.CT, index), Lattice(plan.shape, plan.spacing), plan.diameters_mm)
    subject = Subject(f"SAMPLE-{plan.name}", seed, plan.name)
    grid = scanner_grid(plan.centre_lps, plan.axes_lps, plan.spacing, plan.shape)
    write_ct_series(root / "ct" / plan.name, subject, phantom.voxels, grid, plan.storage)
    middle_voxel = local_to_voxel((phantom.lower_mm + phantom.upper_mm) / 2, plan.spacing)
    boxes = BoxedScan(
        key={"series_instance_uid": str(subject.series_uid)},
        frame="lps_mm",
        centres=ras_to_lps(grid.to_world(middle_voxel)),
        sizes=phantom.upper_mm - phantom.lower_mm,
        labels=["lesion"] * len(phantom),
    )
    row = IndexRow(f"ct/{plan.name}", subject.patient_id, split_of(index))
    return Contribution(row, boxes=boxes, lesions=len(phantom))


def write_faulty_ct(root: Path, seed: int) -> tuple[str, str]:
    """A series with a slice missing in its middle and a file that is cut off; returns both paths from the root."""
    plan = plan_ct(seed, 0)
    lattice = Lattice((48, 48, 12), plan.spacing)
    phantom = Phantom(
        draw_ct(stream(seed, Part.CT, SERIES), lattice, np.zeros(0)).voxels, plan.spacing, *np.zeros((2, 0, 3))
    )
    paths = []
    for name in (f"CT{SERIES + 1:03d}", f"CT{SERIES + 2:03d}"):
        grid = scanner_grid(plan.centre_lps, np.eye(3), plan.spacing, lattice.shape)
        write_ct_series(root / "ct" / name, Subject(f"SAMPLE-{name}", seed, name), phantom.voxels, grid, plan.storage)
        paths.append(root / "ct" / name)
    (paths[0] / "IM0006.dcm").unlink()
    for file in sorted(paths[1].iterdir())[1:]:
        file.unlink()
    cut = paths[1] / "IM0001.dcm"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    return f"ct/{paths[0].name}", f"ct/{paths[1].name}/{cut.name}"
