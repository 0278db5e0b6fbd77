"""A slide holds one picture at several resolutions, its levels: which one a version detects on."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.config import ExperimentConfig
from pipeline.volumes import Volume

SLIDE = "SM"
# A level that is so much coarser than what a network was trained at still shows the same: scanners of the same nominal
# magnification differ by as much.
_COARSER = 1.1


def nearest_levels(config: ExperimentConfig, volumes: Sequence[Volume]) -> tuple[list[Volume], dict[str, str]]:
    """Of each slide the level to detect on, and why not the others, by name; what is no slide stays.

    It is the coarsest that is as fine as the network's spacing, or at most a tenth coarser; where none is, the finest.
    So what is made coarser on the way was seen in all detail, as tiatoolbox and OpenSlide's ``best level`` have it. A
    version that keeps each picture's own pixels takes the finest, and so it is where no pixel size is known. Optical
    paths and focal planes are slides of their own.
    """
    wanted = config.preprocessing.spacing
    slides: dict[tuple[str, str], list[Volume]] = defaultdict(list)
    for volume in volumes:
        if volume.modality == SLIDE and volume.series and volume.grid.dims == 2:
            slides[volume.series, _besides_level(volume)].append(volume)
    left: dict[str, str] = {}
    dropped: set[str] = set()
    for levels in slides.values():
        chosen = _nearest(levels, wanted)
        for other in levels:
            if other is not chosen:
                left[other.name] = _reason(chosen, wanted)
                dropped.add(other.volume_id)
    return [volume for volume in volumes if volume.volume_id not in dropped], left


def without_pixel_size(config: ExperimentConfig, volume: Volume) -> str:
    """Why a slide that states no pixel size cannot be brought to the version's; empty where it need not be."""
    spacing = config.preprocessing.spacing
    if volume.modality != SLIDE or volume.grid.unit == "mm" or spacing is None:
        return ""
    return f"the version works at {_um(spacing)}, and the slide states no pixel size"


def _nearest(levels: Sequence[Volume], wanted: tuple[float, ...] | None) -> Volume:
    finest_first = sorted(levels, key=lambda level: -np.prod(level.grid.shape))
    if wanted is None or any(level.grid.unit != "mm" for level in levels):
        return finest_first[0]
    fine = [level for level in finest_first if (level.grid.spacing <= _COARSER * np.array(wanted)).all()]
    return fine[-1] if fine else finest_first[0]


def _reason(chosen: Volume, wanted: tuple[float, ...] | None) -> str:
    level = chosen.attributes.get("part", "").partition(",")[0] or "another level"
    if wanted is None:
        return f"the version takes pixels as they are: {level} is taken, the finest"
    if chosen.grid.unit != "mm":
        return f"not every level states its pixel size: {level} is taken, the finest"
    return f"{level}, {_um(chosen.grid.spacing)}, is nearest to the version's {_um(wanted)}"


def _um(spacing: Sequence[float] | np.ndarray) -> str:
    shown = dict.fromkeys(f"{1000 * one:.4g}" for one in spacing)
    return f"{' x '.join(shown)} um per pixel"


def _besides_level(volume: Volume) -> str:
    """What tells a picture from others of its series, apart from its level (see `pipeline.sources.dicom.slides`)."""
    parts = volume.attributes.get("part", "").split(", ")
    return ", ".join(one for one in parts if not one.startswith("level ") and not one.endswith(" um per pixel"))
