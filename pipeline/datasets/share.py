"""A part of the training side, for learning curves: whole patients (or looks), the same ones in every larger part."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.errors import DatasetError
from pipeline.volumes import Volume


def groups_in(share: float, groups: int) -> int:
    """How many of ``groups`` make up a share: the nearest number, a half rounded up, at least one."""
    return max(1, int(share * groups + 0.5))


def part_of(volumes: Sequence[Volume], share: float, seed: int) -> list[Volume]:
    """The volumes of a share of the groups (one ``patient_key`` each), in their order.

    Groups are put in a seeded random order, the first of those that have an object in front, and a share takes the
    first of them: the groups of a share are among those of every larger one, and one of them has an object.

    Raises:
        DatasetError: no group has an object.
    """
    if share == 1:
        return list(volumes)
    groups: dict[str, list[Volume]] = defaultdict(list)
    for volume in volumes:
        groups[volume.patient_key].append(volume)
    taken = _drawn(groups, seed)[: groups_in(share, len(groups))]
    return [volume for volume in volumes if volume.patient_key in taken]


def _drawn(groups: dict[str, list[Volume]], seed: int) -> list[str]:
    # Patient keys are hashed with a secret of the home folder: by content, the same groups are drawn everywhere.
    named = sorted(groups, key=lambda key: min(volume.volume_id for volume in groups[key]))
    order = [named[place] for place in np.random.default_rng(seed).permutation(len(named))]
    first = next((key for key in order if any(_has_object(volume) for volume in groups[key])), None)
    if first is None:
        raise DatasetError(
            f"none of the {len(groups)} patients of the training side has an object, so no share of them can be "
            "trained on: check data.classes and data.split, or use data.share=1"
        )
    return [first, *(key for key in order if key != first)]


def _has_object(volume: Volume) -> bool:
    return volume.annotations is not None and not volume.annotations.ignore.all()
