"""One series, several volumes: which slices belong together, and what tells the volumes apart."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.sources.dicom import geometry
from pipeline.sources.dicom.geometry import SlicePlace
from pipeline.sources.dicom.slices import Slice
from pipeline.sources.dicom.varying import ATTRIBUTES, TIMES, Attribute, private_facts, seconds, sort_key

_NAMES = ("sagittal", "coronal", "axial")
_STRAIGHT = 0.99
# Beyond these, an attribute divides a series whose places do not repeat only where its groups lie among each other:
# groups one behind the other could hide a missing slice between them.
_OWN_STACKS = ("SliceThickness", "ImageType", "StackID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Group:
    """Slices that may make one volume; ``part`` says which one of the series."""

    slices: tuple[Slice, ...]
    part: str = ""


def by_geometry(slices: Sequence[Slice]) -> list[Group]:
    """Slices that share matrix, pixel spacing and orientation, the largest group first; ``part`` names the plane."""
    groups: list[list[Slice]] = []
    for one in slices:
        for group in groups:
            if geometry.alike(group[0].place, one.place):
                group.append(one)
                break
        else:
            groups.append([one])
    groups.sort(key=len, reverse=True)
    if len(groups) == 1:
        return [Group(tuple(groups[0]))]
    parts = _distinct([group[0].place for group in groups])
    return [Group(tuple(group), part) for group, part in zip(groups, parts, strict=True)]


def by_attribute(group: Group) -> list[Group]:
    """Slices that lie at the same places, divided by the attributes in which those at one place differ.

    An attribute divides only if it has about as many values as places repeat: one that changes from slice to slice
    tells no volumes apart. Where none is left, the order in time at each place does, if every place has equally many
    slices. What cannot be told apart stays together.
    """
    ids = _place_ids(group.slices)
    if _repeats(ids) == 0:
        return [group]
    found = _best(group, ids) or _by_time(group, ids)
    if found is None:
        return [group]
    return [part for one in found for part in by_attribute(one)]


def with_private_facts(group: Group) -> Group:
    """The slices with the vendors' own b-values and directions, where places repeat: they cost a second reading."""
    own = {path: private_facts(Path(path)) for path in dict.fromkeys(one.path for one in group.slices)}
    slices = tuple(replace(one, facts={**one.facts, **own[one.path]}) for one in group.slices)
    return replace(group, slices=slices)


def stacks_apart(group: Group) -> list[list[Group]]:
    """Other ways to see an uneven row of slices: as two or three stacks that differ in an attribute."""
    ways = []
    for attribute in sorted(ATTRIBUTES, key=lambda one: one.keyword not in _OWN_STACKS[:1]):
        found = _divided(group, attribute)
        if not 2 <= len(found) <= 3 or min(len(one.slices) for one in found) < 2:
            continue
        if attribute.keyword in _OWN_STACKS or _interleaved(found):
            ways.append(found)
    return ways


def _best(group: Group, ids: list[int]) -> list[Group] | None:
    """By the first attribute that leaves no repeats, or else by the one that leaves the fewest."""
    most = max(Counter(ids).values())
    fewest, best = _repeats(ids), None
    for attribute in ATTRIBUTES:
        found = _divided(group, attribute)
        if not 2 <= len(found) <= 2 * most:
            continue
        left = sum(_repeats(_place_ids(one.slices)) for one in found)
        if left < fewest:
            fewest, best = left, found
        if left == 0:
            break
    return best


def _divided(group: Group, attribute: Attribute) -> list[Group]:
    values: dict[str, list[Slice]] = defaultdict(list)
    for one in group.slices:
        values[one.facts.get(attribute.keyword, "")].append(one)
    ordered = sorted(values, key=sort_key)
    return [Group(tuple(values[value]), _joined(group.part, attribute.label(value, ordered))) for value in ordered]


def _by_time(group: Group, ids: list[int]) -> list[Group] | None:
    """The first, second … slice at every place.

    The passes must follow each other in time, unless it is counted from a trigger.
    """
    counts = set(Counter(ids).values())
    if len(counts) != 1:
        return None
    (count,) = counts
    for keyword in TIMES:
        try:
            times = np.array([seconds(one.facts.get(keyword, "")) for one in group.slices])
        except ValueError:
            continue
        order = np.lexsort((times, np.array(ids))).reshape(-1, count)  # (place, pass)
        ranked = times[order]
        if (np.diff(ranked, axis=1) <= 0).any():
            continue
        if keyword != "TriggerTime" and (ranked[:, :-1].max(axis=0) >= ranked[:, 1:].min(axis=0)).any():
            continue
        return [
            Group(tuple(group.slices[index] for index in order[:, n]), _joined(group.part, f"phase {n + 1} of {count}"))
            for n in range(count)
        ]
    return None


def _place_ids(slices: Sequence[Slice]) -> list[int]:
    """A number for each slice; slices at the same distance along the normal have the same."""
    normal = slices[0].place.normal_lps
    along = np.array([one.place.position_lps for one in slices]) @ normal
    order = np.argsort(along)
    steps = np.diff(along[order]) > geometry.SAME_PLACE_MM
    ids = np.empty(len(slices), dtype=int)
    ids[order] = np.concatenate([[0], np.cumsum(steps)])
    return [int(one) for one in ids]


def repeats(group: Group) -> int:
    """How many slices lie where another one of the group lies already."""
    return _repeats(_place_ids(group.slices))


def at_one_place(group: Group) -> list[list[Slice]]:
    """The slices at each place, in the order of the places."""
    found: dict[int, list[Slice]] = defaultdict(list)
    for number, one in zip(_place_ids(group.slices), group.slices, strict=True):
        found[number].append(one)
    return [found[number] for number in sorted(found)]


def _repeats(ids: list[int]) -> int:
    return len(ids) - len(set(ids))


def _interleaved(groups: Sequence[Group]) -> bool:
    normal = groups[0].slices[0].place.normal_lps
    spans = sorted(_span([float(normal @ np.array(one.place.position_lps)) for one in g.slices]) for g in groups)
    return all(after[0] < before[1] for before, after in pairwise(spans))


def _span(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _plane(place: SlicePlace) -> str:
    normal = np.abs(place.normal_lps)
    axis = int(np.argmax(normal))
    return f"{'' if normal[axis] > _STRAIGHT else 'oblique '}{_NAMES[axis]} plane"


_Name = Callable[[SlicePlace], Hashable]
_PLANE_NAMES: tuple[_Name, ...] = (
    _plane,
    lambda place: f"{place.shape[0]} x {place.shape[1]} pixels",
    lambda place: f"{place.spacing[0]:g} x {place.spacing[1]:g} mm",
)


def _distinct(places: list[SlicePlace]) -> list[str]:
    """For each place the names that tell it from the others, or at last its number."""
    columns = [[str(name(place)) for place in places] for name in _PLANE_NAMES]
    telling = [column for column in columns if len(set(column)) > 1]
    parts = [_joined(*words) for words in zip(*telling, strict=True)] if telling else [""] * len(places)
    counts = Counter(parts)
    seen: Counter[str] = Counter()
    named = []
    for part in parts:
        seen[part] += 1
        named.append(part if counts[part] == 1 else _joined(part, f"{seen[part]} of {counts[part]}"))
    return named
