"""A part of each scan for validation, where there are too few patients for a validation side of their own."""

from pipeline.datasets.cases import Case, window_of
from pipeline.errors import DatasetError
from pipeline.volumes import Volume

# Training keeps the larger part, and validation at least half of its share of the voxels.
_MOST, _LEAST = 0.5, 0.5


def divided(volume: Volume, share: float) -> tuple[Case, Case]:
    """Training's part of an annotated volume, and validation's: a slab at one end of one of its axes.

    No voxel is in both. An object is on the side that its centre is on, and to be ignored on the other where it
    reaches across. Of all slabs of whole slices with share / 2 to 1/2 of the voxels: those whose number of objects that
    count is nearest to ``share`` of all (to the nearest whole number, halves up); of these the one that cuts fewest
    objects; of these the one whose share of the voxels is nearest to ``share``.

    Raises:
        DatasetError: the volume has too few slices along every axis.
    """
    shape = volume.grid.shape
    slabs = [slab for axis in range(len(shape)) for slab in _slabs(volume, axis, share)]
    if not slabs:
        raise DatasetError(
            f"{volume.name}: {shape} voxels cannot be divided into training and validation by "
            f"data.split.validation_share={share}: choose a share nearer to 0.5, or validation: fold"
        )
    _, axis, border, first = min(slabs)
    below = window_of(volume, "part", (0,) * len(shape), _with(shape, axis, border))
    above = window_of(volume, "part", _with((0,) * len(shape), axis, border), shape)
    return (above, below) if first else (below, above)


def _slabs(volume: Volume, axis: int, share: float) -> list[tuple[tuple[float, ...], int, int, bool]]:
    """Rank (the lowest is best), axis, the first voxel above the border, and whether the slab lies below it."""
    marks = volume.annotations
    assert marks is not None, "only annotated volumes are divided"
    counting = marks.boxes[~marks.ignore]
    wanted = int(share * len(counting) + 0.5)
    n = volume.grid.shape[axis]
    found: list[tuple[tuple[float, ...], int, int, bool]] = []
    for border in range(1, n):
        edge = border - 0.5
        below = int((counting.centres[:, axis] < edge).sum())
        cut = int(((counting.lower[:, axis] < edge) & (counting.upper[:, axis] > edge)).sum())
        for first, held, voxels in ((True, below, border), (False, len(counting) - below, n - border)):
            part = voxels / n
            if share * _LEAST <= part <= _MOST:
                found.append(((abs(held - wanted), cut, abs(part - share)), axis, border, first))
    return found


def _with(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return tuple(value if n == axis else one for n, one in enumerate(values))
