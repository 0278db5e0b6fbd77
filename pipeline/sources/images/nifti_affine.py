"""Where a NIfTI volume lies: sform and qform, checked against each other.

Methods 2 and 3 of nifti1.h. Neither is repaired, and neither is made up where the other is absent too (method 1
states no orientation).
"""

import numpy as np

from pipeline.errors import GeometryError
from pipeline.sources.images.nifti_fields import NiftiFields
from pipeline.types import Affine

_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
# Code 1 is the scanner's frame, 2 another scan's, 3 to 5 are atlases and templates, which may rightly lie elsewhere.
_PATIENT_CODES = (1, 2)
_DISAGREEMENT_VOXELS = 0.5
_STEP_TOLERANCE = 0.01
_LONGER_THAN_1 = 1e-5
# By the header's size: where the first part of the quaternion is lost in rounding, it is half a turn (nifti1_io.c).
_QUATERNION_NOISE = {348: 1e-7, 540: 1e-15}


def affine_of(fields: NiftiFields, shape: tuple[int, int, int]) -> tuple[Affine, tuple[str, ...]]:
    """Voxel index → RAS mm, ``(4, 4)``: the sform, else the qform; and remarks on what was accepted.

    Raises:
        GeometryError: no orientation is stated, or the statements contradict each other.
    """
    scale, notes = _unit(fields)
    steps = np.array(fields.numbers("pixdim")[1 : 1 + min(int(fields.numbers("dim")[0]), 3)])
    if not np.isfinite(steps).all() or (steps <= 0).any():
        raise GeometryError(f"pixdim must be above 0, got {steps.tolist()}")
    s_code, q_code = fields.code("sform_code"), fields.code("qform_code")
    if s_code <= 0 and q_code <= 0:
        raise GeometryError("neither sform nor qform is given (codes 0), so the orientation is not known")
    qform = scale @ _qform(fields) if q_code > 0 else None
    if s_code <= 0:
        assert qform is not None
        return qform, notes
    sform = scale @ _sform(fields)
    if qform is not None:
        _check_agreement(sform, qform, s_code in _PATIENT_CODES and q_code in _PATIENT_CODES, shape)
    return sform, (*notes, *_other_steps(sform, steps * scale[0, 0]))


def _unit(fields: NiftiFields) -> tuple[Affine, tuple[str, ...]]:
    """The file's unit → mm, as an affine."""
    code = fields.code("units") & 7
    if code not in _MILLIMETRES:
        raise GeometryError(f"the spatial unit has code {code}; NIfTI knows 1 (m), 2 (mm) and 3 (µm)")
    notes = ("the spatial unit is not stated; taken as millimetres",) if code == 0 else ()
    return np.diag([_MILLIMETRES[code]] * 3 + [1.0]), notes


def _other_steps(sform: Affine, steps_mm: np.ndarray) -> tuple[str, ...]:
    lengths = np.linalg.norm(sform[:3, :3], axis=0)[: len(steps_mm)]
    if (np.abs(lengths - steps_mm) <= _STEP_TOLERANCE * steps_mm).all():
        return ()
    return (f"pixdim states steps of {_listed(steps_mm)} mm, the sform, which is used, {_listed(lengths)} mm",)


def _sform(fields: NiftiFields) -> Affine:
    affine = np.vstack([np.array(fields.numbers("srow")).reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GeometryError(f"the sform must be invertible, got {affine[:3].tolist()}")
    return affine


def _qform(fields: NiftiFields) -> Affine:
    """nifti1.h, method 2: a unit quaternion, whose first part is what is left to 1; pixdim[0] is qfac."""
    b, c, d = fields.numbers("quatern")
    pixdim = fields.numbers("pixdim")
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -_LONGER_THAN_1:  # also where it is not a number
        raise GeometryError(f"the qform's quaternion {b, c, d} is not a rotation: it is longer than 1")
    a = np.sqrt(rest) if rest > _QUATERNION_NOISE[fields.size] else 0.0
    if not a:
        b, c, d = np.array([b, c, d]) / np.sqrt(1.0 - rest)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * [pixdim[1], pixdim[2], -pixdim[3] if pixdim[0] < 0 else pixdim[3]]
    affine[:3, 3] = fields.numbers("qoffset")
    if not np.isfinite(affine).all() or pixdim[3] <= 0:
        raise GeometryError(f"the qform must be finite and have steps above 0, got {affine[:3].tolist()}")
    return affine


def _check_agreement(sform: Affine, qform: Affine, one_frame: bool, shape: tuple[int, ...]) -> None:
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise GeometryError("sform and qform disagree: one is mirrored (left and right would be swapped); set one to 0")
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    apart = np.linalg.norm(corners @ (sform - qform)[:3, :3].T + (sform - qform)[:3, 3], axis=1).max()
    tolerance = _DISAGREEMENT_VOXELS * float(np.linalg.norm(sform[:3, :3], axis=0).min())
    if one_frame and apart > tolerance:
        raise GeometryError(f"sform and qform disagree by up to {apart:.2f} mm (over {tolerance:.2f}); set one to 0")


def _listed(numbers: np.ndarray) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
