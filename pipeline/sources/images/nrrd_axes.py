"""Which axis of a NRRD is what, and where its lattice lies in the world."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.images.nrrd_header import NrrdHeader, vector

_CHANNEL_KINDS = (
    "vector", "scalar", "stub", "point", "3-vector", "covariant-vector", "normal", "2-vector", "4-vector",
)  # fmt: skip
_COLOUR_KINDS = {"rgb-color": 3, "3-color": 3, "rgba-color": 4, "4-color": 4}
_SPACE_KINDS = ("domain", "space", "???", "none", "")
# Directions that the letters of a space grow to, relative to RAS.
_SIGNS = {"right": 1, "left": -1, "anterior": 1, "posterior": -1, "superior": 1, "inferior": -1}
_SHORT = {"r": "right", "l": "left", "a": "anterior", "p": "posterior", "s": "superior", "i": "inferior"}
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "nm": 1e-6}


@dataclass(frozen=True)
class NrrdAxes:
    """Roles of the axes, by their number from the fastest on.

    ``space`` holds three (or two) axes in order; along ``volumes`` (kind list or time) lie volumes of their own,
    along ``channel`` (vector or colour) the values of a voxel; `None` where there is no such axis. ``colour`` is 3 or 4
    where the channels are RGB or RGBA.
    """

    space: tuple[int, ...]
    channel: int | None
    volumes: int | None
    colour: int = 0


def axes_of(header: NrrdHeader) -> NrrdAxes:
    """The role of each axis, by ``kinds`` and ``space directions``.

    Raises:
        SourceError: an axis whose role is not stated, or not one of an image.
    """
    count = len(header.sizes)
    kinds = [kind.replace("???", "") for kind in header.words("kinds")] or [""] * count
    directions = _directions(header) or [None] * count
    if len(kinds) != count or len(directions) != count:
        raise SourceError(f"NRRD's kinds and space directions must have an entry for each of {count} axes")
    placed = "space directions" in header.fields
    space: list[int] = []
    others: dict[str, int] = {}
    colour = 0
    for axis, (kind, direction) in enumerate(zip(kinds, directions, strict=True)):
        if direction is not None or (not placed and kind in _SPACE_KINDS):
            space.append(axis)
            continue
        role = _role(kind, header.sizes[axis])
        if role in others:
            raise SourceError(f"the NRRD has two axes of {role}; one is read")
        others[role] = axis
        colour = _COLOUR_KINDS.get(kind, colour)
    if len(space) > 3 or len(space) < 2:
        raise SourceError(f"expected 2 or 3 axes in space, the NRRD of sizes {header.sizes} has {len(space)}")
    return NrrdAxes(tuple(space), others.get("channel"), others.get("volumes"), colour)


def grid_of(header: NrrdHeader, axes: NrrdAxes) -> Grid:
    """The lattice in RAS mm; a 2D picture without a world lies in mm (``spacings`` with units) or in pixels.

    Raises:
        GeometryError: the orientation of a volume is not stated, is in a frame that is not the patient's, or is broken.
    """
    shape = tuple(header.sizes[axis] for axis in axes.space)
    if "space directions" not in header.fields:
        return _flat_grid(header, axes, shape)
    directions = _directions(header)
    assert directions is not None
    vectors = [directions[axis] for axis in axes.space]
    signs = _signs(header)
    origin = vector(header.fields["space origin"]) if "space origin" in header.fields else None
    if origin is None:
        raise GeometryError("the NRRD states directions but no space origin, so its place is not known")
    if len(vectors) == 2:
        raise GeometryError("the NRRD is one plane in 3D space; give it a third axis of size 1 with its direction")
    if any(one is None or len(one) != 3 for one in (*vectors, origin)):
        raise GeometryError("NRRD's space directions and space origin must have 3 numbers each")
    affine = np.eye(4)
    affine[:3, :3] = np.array(vectors, dtype=float).T
    affine[:3, 3] = origin
    affine = np.diag([*(signs * _scales(header)), 1.0]) @ affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-15:
        raise GeometryError(f"NRRD's space directions must be finite and independent, got {affine[:3, :3].tolist()}")
    return Grid(shape, affine)


def _role(kind: str, size: int) -> str:
    if kind in ("list", "time"):
        return "volumes"
    if kind in _COLOUR_KINDS and size == _COLOUR_KINDS[kind]:
        return "channel"
    if kind in _CHANNEL_KINDS:
        return "channel"
    raise SourceError(
        f"an axis of {size} of the NRRD has kind {kind[:30] or '(none)'!r}; expected list, vector, colour or time"
    )


def _directions(header: NrrdHeader) -> list[tuple[float, ...] | None] | None:
    words = header.words("space directions")
    return [vector(word) for word in words] if words else None


def _signs(header: NrrdHeader) -> np.ndarray:
    """Signs that turn the file's frame into RAS."""
    space = header.fields.get("space", "").strip().lower()
    names = space.split("-") if "-" in space else [_SHORT.get(letter, "") for letter in space]
    pairs = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
    if len(names) != 3 or any(name not in pair for name, pair in zip(names, pairs, strict=True)):
        raise GeometryError(
            f"NRRD's space must be the patient's (such as left-posterior-superior), got {space[:40] or 'none'!r}: the "
            "orientation is not known"
        )
    return np.array([_SIGNS[name] for name in names], dtype=float)


def _scales(header: NrrdHeader) -> np.ndarray:
    """Millimetres in the unit of each world axis; without a stated unit millimetres, as all programs write it."""
    units = header.words("space units")
    if not units:
        return np.ones(3)
    if any(unit not in _MILLIMETRES for unit in units[:3]) or len(units) < 3:
        raise GeometryError(f"NRRD's space units must be lengths, got {header.fields['space units'][:40]!r}")
    return np.array([_MILLIMETRES[unit] for unit in units[:3]])


def _flat_grid(header: NrrdHeader, axes: NrrdAxes, shape: tuple[int, ...]) -> Grid:
    if len(shape) == 3:
        stated = "spacings" if "spacings" in header.fields else "nothing"
        raise GeometryError(f"the NRRD states {stated} and no space directions, so its orientation is not known")
    steps, units = header.words("spacings"), header.words("units")
    try:
        numbers = [float(steps[axis]) for axis in axes.space]
        scales = [_MILLIMETRES[units[axis]] for axis in axes.space]
    except (IndexError, KeyError, ValueError):
        return Grid.of_pixels(shape)
    if not np.isfinite(numbers).all() or min(numbers) <= 0:
        raise GeometryError(f"NRRD's spacings must be above 0, got {numbers}")
    return Grid(shape, np.diag([*(n * scale for n, scale in zip(numbers, scales, strict=True)), 1.0]))
