"""A tilted gantry: slices that lean beside each other are sheared back onto a straight grid.

The slices keep their planes; each one is moved within its plane, so only values between pixels are made anew. Linear
interpolation is used: it is exact for whole-pixel moves, keeps every value within its neighbours' range (a cubic one
would invent HU at edges), and is what dcm2niix does.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry import Grid
from pipeline.sources.dicom import geometry
from pipeline.sources.dicom.geometry import SlicePlace


@dataclass(frozen=True, eq=False)
class Straightened:
    """``image`` is ``(channel, i, j, k)`` on ``grid``; ``degrees`` is the tilt that was, ``note`` what was done."""

    image: np.ndarray
    grid: Grid
    degrees: float
    note: str


_WHOLE = 1e-6  # a move this close to a whole number of pixels needs no interpolation


def shear(
    image: np.ndarray, places: list[SlicePlace], step: np.ndarray, fill: float, padding: float | None = None
) -> Straightened:
    """Straighten ``image``, ``(channel, i, j, k)``, of ordered slices that lie ``step`` LPS mm apart.

    The first slice's pixels stay on their places in the world; the matrix grows so that nothing is cut, and new
    voxels hold ``fill``. Edge rule: a slice covers its pixels' full width, so half a pixel beyond the last centre.
    A value of ``padding`` is no measurement: next to it the nearer value is taken instead of a mixture.
    The image keeps its dtype; integers are rounded to the nearest.
    """
    lean = geometry.lean_mm(step, places)
    moves = np.arange(len(places))[:, None] * lean / np.array(places[0].spacing)  # (k, 2) in voxels along (i, j)
    lower, upper = np.floor(moves.min(axis=0) + _WHOLE), np.ceil(moves.max(axis=0) - _WHOLE)
    grown = tuple(int(n) for n in np.array(image.shape[1:3]) + upper - lower)
    sheared = np.empty((image.shape[0], len(places), *grown[::-1]), image.dtype).transpose(0, 3, 2, 1)
    for k, move in enumerate(moves - lower):
        plane = _moved(_moved(image[..., k], move[0], 1, grown[0], fill, padding), move[1], 2, grown[1], fill, padding)
        sheared[..., k] = np.rint(plane) if image.dtype.kind in "iu" else plane
    grid = geometry.straight_grid(_widened(places, lower, grown), (step @ places[0].normal_lps) * places[0].normal_lps)
    degrees = geometry.tilt_degrees(step, places[0])
    return Straightened(sheared, grid, degrees, _note(degrees, moves))


def _moved(plane: np.ndarray, move: float, axis: int, length: int, fill: float, padding: float | None) -> np.ndarray:
    """``plane`` moved by ``move`` (at least 0) pixels along ``axis`` into a plane of ``length``."""
    whole = int(np.floor(move + _WHOLE))
    part = max(move - whole, 0.0) if move - whole > _WHOLE else 0.0
    source = np.moveaxis(plane, axis, 0)
    count = len(source)
    moved = np.full((length, *source.shape[1:]), fill, np.float64 if part else plane.dtype)
    if not part:
        moved[whole : whole + count] = source
        return np.moveaxis(moved, 0, axis)
    here, before = source[1:], source[:-1]
    between = (1 - part) * here + part * before
    if padding is not None:
        between = np.where((here == padding) | (before == padding), here if part < 0.5 else before, between)
    moved[whole + 1 : whole + count] = between
    if part < 0.5:
        moved[whole] = source[0]
    else:
        moved[whole + count] = source[-1]
    return np.moveaxis(moved, 0, axis)


def _widened(places: list[SlicePlace], lower: np.ndarray, shape: tuple[int, ...]) -> list[SlicePlace]:
    first = places[0]
    move = lower[0] * first.spacing[0] * np.array(first.row_lps) + lower[1] * first.spacing[1] * np.array(
        first.column_lps
    )
    position = tuple(float(one) for one in np.array(first.position_lps) + move)
    return [replace(place, position_lps=position, shape=(shape[0], shape[1])) for place in places]


def _note(angle: float, moves: np.ndarray) -> str:
    furthest = np.abs(moves).max(axis=0)
    way = " and ".join(f"{furthest[axis]:.2f} voxels along {'ij'[axis]}" for axis in (0, 1) if furthest[axis] > _WHOLE)
    return f"sheared back from a gantry tilt of {angle:.1f} degrees: slices moved by up to {way}, linear interpolation"
