"""The MR part of the archive: six NIfTI volumes in several orientations, and one file that is cut off."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from pipeline.geometry import Grid
from pipeline.sample.annotations import BoxedScan, IndexRow
from pipeline.sample.contribution import Contribution, label_class_rows
from pipeline.sample.lattice import Lattice
from pipeline.sample.mr import draw_mr
from pipeline.sample.noise import Part, stream
from pipeline.sample.phantom import Phantom
from pipeline.sample.placement import affine_around, local_to_voxel, rotation
from pipeline.sample.split import split_of
from pipeline.types import Affine

VOLUMES = 6
WITHOUT_FINDING = 3
WITH_BOXES = frozenset({4, 5})
_SHAPE = (96, 112, 40)
_SPACING = np.array([1.6, 1.6, 3.0])
_AXES_RAS = (
    np.eye(3),
    np.diag([-1.0, 1.0, 1.0]),
    rotation(0, 18.0),
    np.eye(3),
    rotation(2, -12.0) @ np.diag([-1.0, 1.0, 1.0]),
    np.diag([1.0, -1.0, 1.0]),
)


def write_mr(root: Path, seed: int, index: int) -> Contribution:
    """Write volume ``index`` below ``root/mr`` and, unless it is annotated with boxes, its label map."""
    rng = stream(seed, Part.MR, index)
    count = 0 if index == WITHOUT_FINDING else int(rng.integers(2, 6))
    name = f"MR{index + 1:03d}"
    phantom = draw_mr(rng, Lattice(_SHAPE, _SPACING), count)
    affine = affine_around(np.array([0.0, -15.0, 20.0]), _AXES_RAS[index], _SPACING, _SHAPE)
    _save(root / "mr" / f"{name}.nii.gz", phantom.voxels, affine)
    row = IndexRow(f"mr/{name}.nii.gz", f"SAMPLE-{name}", split_of(index))
    if index in WITH_BOXES:
        return Contribution(row, boxes=_boxes(row.file, phantom, affine), lesions=len(phantom))
    assert phantom.labels is not None
    _save(root / "annotations" / "labels" / f"{name}.nii.gz", phantom.labels, affine)
    classes = label_class_rows(name, list(range(1, count + 1)), ("lesion",) * count)
    return Contribution(row, label_classes=classes, lesions=count)


def write_cut_off_mr(root: Path) -> str:
    """A NIfTI file whose end is missing, as after an interrupted copy; returns its path from the root."""
    whole = (root / "mr" / "MR001.nii.gz").read_bytes()
    path = root / "mr" / f"MR{VOLUMES + 1:03d}.nii.gz"
    path.write_bytes(whole[: len(whole) // 2])
    return f"mr/{path.name}"


def _boxes(file: str, phantom: Phantom, affine: Affine) -> BoxedScan:
    middle_voxel = local_to_voxel((phantom.lower_mm + phantom.upper_mm) / 2, phantom.spacing)
    centres = Grid(_SHAPE, affine).to_world(middle_voxel)
    return BoxedScan({"file": file}, "ras_mm", centres, phantom.upper_mm - phantom.lower_mm, ["lesion"] * len(phantom))


def _save(path: Path, voxels: np.ndarray, affine: Affine) -> None:
    """Write a ``.nii.gz`` whose bytes do not depend on the clock."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))
