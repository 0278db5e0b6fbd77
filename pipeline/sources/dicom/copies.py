"""Slices that are there twice: identical ones are taken once, and told."""

import hashlib
from dataclasses import replace

import numpy as np

from pipeline.sources.dicom import split
from pipeline.sources.dicom.slices import Slice
from pipeline.sources.dicom.split import Group
from pipeline.sources.dicom.voxels import pixels_of

Paths = tuple[str, ...]


def without_copies(group: Group) -> tuple[Group, Paths]:
    """The group with each slice once, and the paths of those that hold the same again.

    The same are slices at one place with equal pixels whose headers do not tell them apart. Where headers differ, equal
    pixels alone are not enough: empty slices at the edge of two phases are equal, too. But if all that share a place
    are equal, at every place, there is only one volume.
    """
    group, copies = _alike_in_all(group)
    if not split.repeats(group):
        return group, copies
    together = split.at_one_place(group)
    if not all(len({_content(one) for one in slices}) == 1 for slices in together):
        return group, copies
    kept = replace(group, slices=tuple(slices[0] for slices in together))
    return kept, copies + tuple(one.path for slices in together for one in slices[1:])


def mosaic_content(tiles: list[Slice]) -> tuple[object, ...]:
    """Equal for mosaics that hold the same at the same places under the same header."""
    return (*((one.place, _content(one)) for one in tiles), tuple(sorted(tiles[0].facts.items())))


def _alike_in_all(group: Group) -> tuple[Group, Paths]:
    at: dict[tuple[float, ...], list[Slice]] = {}
    kept, copies = [], []
    for one in group.slices:
        here = at.setdefault(one.place.position_lps, [])
        if any(_same(one, other) for other in here):
            copies.append(one.path)
        else:
            here.append(one)
            kept.append(one)
    return replace(group, slices=tuple(kept)), tuple(copies)


def _same(one: Slice, other: Slice) -> bool:
    stated = all(getattr(one, name) == getattr(other, name) for name in ("place", "slope", "intercept"))
    same = stated and dict(one.facts) == dict(other.facts)
    return same and np.array_equal(pixels_of(one), pixels_of(other))


def _content(one: Slice) -> str:
    pixels = np.ascontiguousarray(pixels_of(one))
    made = hashlib.sha256(f"{one.slope} {one.intercept} {pixels.dtype} {pixels.shape}".encode())
    made.update(pixels.data)
    return made.hexdigest()
