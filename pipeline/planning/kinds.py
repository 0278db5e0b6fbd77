"""Which scans of a folder one experiment can be about; where there are several kinds, how to name one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.errors import DatasetError
from pipeline.volumes import UNLABELLED, Volume

_STAIN = "stain"
_LOOKED_AT, _EDGE = 3, 64  # places an axis, and pixels of each, where colour is looked for
_UNNAMED = "object"


@dataclass(frozen=True)
class Asked:
    """What the user narrows the folder down to."""

    dims: int | None = None
    modalities: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)

    def fits(self, volume: Volume) -> bool:
        return (
            self.dims in (None, volume.grid.dims)
            and (not self.modalities or volume.modality in self.modalities)
            and all(volume.attributes.get(key) == value for key, value in self.where.items())
        )


@dataclass(frozen=True, eq=False)
class Scans:
    """Annotated scans of one kind. ``channels`` are those that differ: a grey picture stored as RGB has one."""

    volumes: tuple[Volume, ...]
    dims: int
    channels: int
    in_pixels: bool

    def labels(self) -> tuple[str, ...]:
        """Every class that an annotation names, in alphabetical order."""
        named = {label for volume in self.volumes for label in _labels(volume)} - {UNLABELLED}
        return tuple(sorted(named))

    def data(self, source: str, asked: Asked) -> DataConfig:
        """How an experiment names these scans; its split is the default one."""
        labels = self.labels()
        return DataConfig(
            source=source,
            dims=3 if self.dims == 3 else 2,
            classes=labels or (_UNNAMED,),
            merge_classes=not labels,
            modalities=asked.modalities,
            where=asked.where,
            in_pixels=self.in_pixels,
        )


def find_scans(volumes: Sequence[Volume], asked: Asked) -> Scans:
    """The annotated scans that fit, which must be of one kind.

    A kind is: dimensions, channels, and in 3D the modality, since CT's, MR's and PET's intensities mean different
    things, and whether the size of voxels is known, without which they cannot be brought to one spacing.

    Raises:
        DatasetError: no scan, none annotated, none with an object, or several kinds: the message has the options that
            choose each.
    """
    fitting = [volume for volume in volumes if asked.fits(volume)]
    annotated = [volume for volume in fitting if volume.annotations is not None]
    if not annotated:
        raise DatasetError(_nothing(volumes, fitting))
    kinds: dict[tuple[object, ...], list[Volume]] = defaultdict(list)
    for volume in annotated:
        kinds[_kind(volume)].append(volume)
    if len(kinds) > 1:
        raise DatasetError(_several(annotated))
    if not any(_labels(volume) for volume in annotated):
        raise DatasetError(f"none of the {len(annotated)} annotated scans holds an object: there is nothing to learn")
    first = annotated[0]
    units = {volume.grid.unit for volume in annotated}
    return Scans(tuple(annotated), first.grid.dims, _channels(first), first.grid.dims == 2 and len(units) > 1)


def _labels(volume: Volume) -> tuple[str, ...]:
    return () if volume.annotations is None else volume.annotations.labels


def _kind(volume: Volume) -> tuple[object, ...]:
    return volume.grid.dims, _channels(volume), *((volume.modality, volume.grid.unit) if volume.grid.dims == 3 else ())


def _channels(volume: Volume) -> int:
    return 1 if volume.channels == 3 and _is_grey(volume) else volume.channels


def _is_grey(volume: Volume) -> bool:
    """Whether red, green and blue are equal wherever one looks: nine places, each read alone."""
    for where in np.ndindex((_LOOKED_AT,) * volume.grid.dims):
        starts = [
            int((n - min(n, _EDGE)) * k / (_LOOKED_AT - 1)) for n, k in zip(volume.grid.shape, where, strict=True)
        ]
        part = np.asarray(volume.array[(slice(None), *(slice(start, start + _EDGE) for start in starts))])
        if not (part == part[:1]).all():
            return False
    return True


def _nothing(volumes: Sequence[Volume], fitting: Sequence[Volume]) -> str:
    if not volumes:
        return "the folder holds no scan that could be read: `cellscan catalog list --outcome quarantined` says why"
    if not fitting:
        kinds = sorted({_described(volume) for volume in volumes})
        return f"none of the {len(volumes)} scans is what was asked for; there are: {'; '.join(kinds)}"
    return (
        f"none of the {len(fitting)} scans is annotated: put annotations beside them (label maps, boxes or centre "
        "points, in a form that `cellscan ingest` knows) and give the same command again"
    )


def _described(volume: Volume) -> str:
    stain = volume.attributes.get(_STAIN)
    sizeless = " of unknown voxel size" if volume.grid.unit == "px" else ""
    kind = f"{volume.grid.dims}D {volume.modality}{sizeless}" if volume.grid.dims == 3 else "2D"
    channels = _channels(volume)
    return f"{kind} with {channels} channel{'s' if channels != 1 else ''}{f', stain {stain}' if stain else ''}"


def _several(annotated: Sequence[Volume]) -> str:
    groups: dict[str, list[Volume]] = defaultdict(list)
    for volume in annotated:
        groups[_described(volume)].append(volume)
    lines = [f"  {len(members)} x {name}: {_options(members, annotated)}" for name, members in sorted(groups.items())]
    return "\n".join(["the folder holds annotated scans of several kinds; an experiment takes one. Choose:", *lines])


def _options(members: Sequence[Volume], every: Sequence[Volume]) -> str:
    """The options that choose these scans and no others of another kind."""
    first = members[0]
    asked, words = Asked(), []
    if {volume.grid.dims for volume in every} != {first.grid.dims}:
        asked, words = replace(asked, dims=first.grid.dims), [f"--dims {first.grid.dims}"]
    if first.grid.dims == 3 and len({v.modality for v in every if asked.fits(v)}) > 1:
        asked, words = replace(asked, modalities=(first.modality,)), [*words, f"--modality {first.modality}"]
    stain = first.attributes.get(_STAIN)
    if stain and len({_kind(v) for v in every if asked.fits(v)}) > 1:
        asked, words = replace(asked, where={_STAIN: stain}), [*words, f"--where {_STAIN}={stain}"]
    if len({_kind(volume) for volume in every if asked.fits(volume)}) > 1:
        return "put them into a folder of their own"
    return " ".join(words)
