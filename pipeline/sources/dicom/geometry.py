"""Where the slices of a series lie, and whether they make one volume.

Source of the arithmetic: DICOM PS3.3 C.7.6.2.1.1. Nothing is repaired: slices that do not stack evenly and straight
along their normal are refused with the numbers.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import GeometryError
from pipeline.geometry import Grid
from pipeline.geometry.affine import ORTHOGONALITY_TOLERANCE
from pipeline.geometry.frames import affine_lps_to_ras

_UNIT_TOLERANCE = 5e-3  # direction cosines are often written with three or four digits
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3
SAME_PLACE_MM = 0.01
# Positions are rounded in headers; a slice may lie this far from its place in an even stack.
_PLACE_SHARE, _PLACE_MM = 0.02, 0.02


@dataclass(frozen=True)
class SlicePlace:
    """One slice in the patient.

    ``position_lps`` is the centre of the first pixel in LPS mm; ``row_lps`` points along growing column index ``i``,
    ``column_lps`` along growing row index ``j``; ``spacing`` is in mm along ``(i, j)``; ``thickness`` in mm, or
    `None` where the header states none.
    """

    position_lps: tuple[float, ...]
    row_lps: tuple[float, ...]
    column_lps: tuple[float, ...]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None = None

    def __post_init__(self) -> None:
        for name, vector in (("row", self.row_lps), ("column", self.column_lps)):
            length = float(np.linalg.norm(vector))
            if abs(length - 1) > _UNIT_TOLERANCE:
                raise GeometryError(
                    f"ImageOrientationPatient: the {name} direction must have length 1, got {length:.4f}"
                )
        cosine = abs(float(np.dot(self.row_lps, self.column_lps)))
        if cosine > ORTHOGONALITY_TOLERANCE:
            raise GeometryError(
                f"ImageOrientationPatient: rows and columns must be at right angles, got a cosine of {cosine:.4f}"
            )
        if min(self.spacing) <= 0:
            raise GeometryError(f"PixelSpacing must be above 0, got {list(self.spacing[::-1])}")

    @property
    def normal_lps(self) -> np.ndarray:
        normal = np.cross(self.row_lps, self.column_lps)
        return normal / np.linalg.norm(normal)

    def distance(self) -> float:
        """Along the slice's normal, in mm."""
        return float(self.normal_lps @ np.asarray(self.position_lps))


def order(places: list[SlicePlace]) -> list[int]:
    """The slices' order along their common normal."""
    along = places[0].normal_lps
    return sorted(range(len(places)), key=lambda index: (float(along @ np.asarray(places[index].position_lps)), index))


def alike(one: SlicePlace, other: SlicePlace) -> bool:
    """Whether two slices share matrix, pixel spacing and orientation, so that they could be of one stack."""
    turned = np.abs(np.subtract([*one.row_lps, *one.column_lps], [*other.row_lps, *other.column_lps])).max()
    zoomed = np.abs(np.divide(other.spacing, one.spacing) - 1).max()
    return bool(one.shape == other.shape and turned <= _SAME_DIRECTION and zoomed <= _SAME_SPACING)


def check_alike(places: list[SlicePlace]) -> None:
    """Raise `GeometryError` unless all slices share matrix, pixel spacing and orientation."""
    matrices = sorted({place.shape for place in places})
    if len(matrices) > 1:
        got = " and ".join(f"{columns} x {rows}" for columns, rows in matrices)
        raise GeometryError(f"slices of one series must share a matrix (columns x rows), got {got}")
    directions = np.array([[*place.row_lps, *place.column_lps] for place in places])
    turned = np.abs(directions - directions[0]).max(axis=1) > _SAME_DIRECTION
    if turned.any():
        fewer = min(int(turned.sum()), len(places) - int(turned.sum()))
        raise GeometryError(f"{fewer} of {len(places)} slices have another orientation than the others")
    spacings = np.array([place.spacing for place in places])
    if (np.abs(spacings / spacings[0] - 1) > _SAME_SPACING).any():
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        raise GeometryError(f"slices of one series must share PixelSpacing, got {low.tolist()} … {high.tolist()} mm")


def stack(places: list[SlicePlace]) -> Grid:
    """The grid ``(i, j, k)`` of slices that are already in `order`.

    Raises:
        GeometryError: two slices at one place, a missing slice, uneven distances, a gantry tilt, or a single slice
            without thickness.
    """
    step = step_lps(places)
    if lean_mm(step, places).any():
        raise GeometryError(_tilt(step, places[0]))
    return straight_grid(places, step)


def straight_grid(places: list[SlicePlace], step: np.ndarray) -> Grid:
    """The grid of ordered slices that lie ``step`` LPS mm apart. What `lean_mm` lets pass as rounding is left out."""
    first = places[0]
    normal = first.normal_lps
    if np.linalg.norm(np.cross(step, normal)) > ORTHOGONALITY_TOLERANCE * np.linalg.norm(step):
        step = (step @ normal) * normal
    columns = [_unit(first.row_lps) * first.spacing[0], _unit(first.column_lps) * first.spacing[1], step]
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = np.column_stack(columns)
    affine_lps[:3, 3] = first.position_lps
    return Grid((*first.shape, len(places)), affine_lps_to_ras(affine_lps))


def step_lps(places: list[SlicePlace]) -> np.ndarray:
    """From one slice to the next of an even, straight, perhaps leaning stack: LPS mm.

    Raises:
        GeometryError: the stack is uneven, bent or incomplete; a tilt that comes with it is named, too.
    """
    check_alike(places)
    first = places[0]
    if len(places) == 1:
        if not first.thickness or first.thickness <= 0:
            raise GeometryError("a single slice needs SliceThickness or SpacingBetweenSlices above 0, to have a volume")
        return first.normal_lps * first.thickness
    positions = np.array([place.position_lps for place in places])
    step = (positions[-1] - positions[0]) / (len(places) - 1)
    uneven = _uneven(positions @ first.normal_lps)
    if uneven:
        leaning = lean_mm(step, places).any()
        raise GeometryError(f"{_tilt(step, first)}; {uneven}" if leaning else uneven)
    off = np.linalg.norm(positions - (positions[0] + np.arange(len(places))[:, None] * step), axis=1).max()
    if off > _tolerance(float(np.linalg.norm(step))):
        raise GeometryError(f"a slice lies {off:.3f} mm beside its place in an even, straight stack")
    return step


def lean_mm(step: np.ndarray, places: list[SlicePlace]) -> np.ndarray:
    """How far each slice lies beside the one before it, in mm along ``(i, j)``; zeros for a straight stack."""
    first = places[0]
    beside = np.array([step @ _unit(first.row_lps), step @ _unit(first.column_lps)])
    bound = max(ORTHOGONALITY_TOLERANCE * float(np.linalg.norm(step)), _PLACE_MM / max(len(places) - 1, 1))
    return beside if np.linalg.norm(beside) > bound else np.zeros(2)


def tilt_degrees(step: np.ndarray, first: SlicePlace) -> float:
    """The angle between the stack and its slices' normal."""
    axial = float(step @ first.normal_lps)
    return float(np.degrees(np.arctan2(np.linalg.norm(step - axial * first.normal_lps), axial)))


def _tilt(step: np.ndarray, first: SlicePlace) -> str:
    return (
        f"slices do not stack along their normal: a gantry tilt of {tilt_degrees(step, first):.1f} degrees "
        "(CELLSCAN_GANTRY_TILT=shear straightens it)"
    )


def _uneven(along: np.ndarray) -> str:
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    close = gaps < SAME_PLACE_MM
    if close.any():
        place = along[int(np.argmax(close))]
        count = int(close.sum()) + 1
        where = f"({place:.2f} mm along the normal)"
        return f"{count} slices lie at one place {where} and differ, and no attribute of their headers says in what"
    wrong = np.abs(gaps - usual) > _tolerance(usual)
    if not wrong.any():
        return ""
    worst = int(np.argmax(np.abs(gaps - usual)))
    where = f"between {along[worst]:.2f} and {along[worst + 1]:.2f} mm along the normal"
    missing = gaps[worst] / usual - 1
    if missing > 0.5 and abs(missing - round(missing)) < 0.1:
        return f"{round(missing)} slice(s) missing {where}: {gaps[worst]:.2f} mm instead of {usual:.2f} mm"
    return f"slice distances are uneven, {gaps.min():.2f} … {gaps.max():.2f} mm; the largest change lies {where}"


def _tolerance(step: float) -> float:
    return max(_PLACE_MM, _PLACE_SHARE * step)


def _unit(vector: tuple[float, ...]) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)
