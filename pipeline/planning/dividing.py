"""How the scans are divided, and who is held back from the fingerprint."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from pipeline.config.data import DataConfig, FoldSplit, GivenSplit
from pipeline.datasets.looks import group_by_look
from pipeline.datasets.split import CaseSplit, split_cases
from pipeline.errors import DatasetError
from pipeline.planning.choice import Choice, number
from pipeline.volumes import Volume

_FOLDS, _FEWEST = 5, 3
# Fewer groups are too dear to validate by, where each scan holds enough objects for a part of it to be: of 10 patients
# in 5 folds, two would choose epoch and threshold and teach nothing.
_FEW, _MANY_OBJECTS, _SLAB = 20, 20, 0.16
_SIDES = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Division:
    """``shaping`` may shape choices: training and validation; ``held_back`` are the test scans. ``left_out`` counts
    scans on no side, which the index does not name. ``patients`` counts those of ``shaping``, `None` where no patient
    is known. ``validating`` is how many scans of average size the validation cases make."""

    choice: Choice
    shaping: tuple[Volume, ...]
    held_back: tuple[Volume, ...]
    left_out: int
    data: DataConfig
    patients: int | None
    validating: float


def divide(data: DataConfig, volumes: Sequence[Volume], seed: int) -> Division:
    """Choose ``data.split`` and apply it; of the folds, the first that has objects to learn from and to validate by.

    Raises:
        DatasetError: a single patient (or look), so that the test cannot be apart; or no object that counts in
            training, or none in validation.
    """
    first = choice = _choose(volumes)
    split = split_cases(_with(data, choice), volumes, seed)
    fold = 0
    while isinstance(first.value.get("folds"), int) and not _holds_objects(split) and fold + 1 < first.value["folds"]:
        fold += 1
        choice = _at_fold(first, fold)
        split = split_cases(_with(data, choice), volumes, seed)
    shaping = tuple({case.volume.volume_id: case.volume for case in (*split.train, *split.validation)}.values())
    if not _holds_objects(split):
        raise DatasetError(_nothing_to_learn(volumes, split))
    divided = _with(data, choice)
    left_out = _unnamed(volumes) if choice.value["kind"] == "given" else 0
    known = any(volume.patient_key != volume.volume_id for volume in volumes)
    patients = len({volume.patient_key for volume in shaping}) if known else None
    usual = float(np.mean([prod(volume.grid.shape) for volume in shaping]))
    validating = sum(prod(case.grid.shape) for case in split.validation) / usual
    held_back = tuple(case.volume for case in split.test)
    return Division(choice, shaping, held_back, left_out, divided, patients, validating)


_CONFIGS = {"given": GivenSplit, "folds": FoldSplit}


def _with(data: DataConfig, choice: Choice) -> DataConfig:
    return data.model_copy(update={"split": _CONFIGS[choice.value["kind"]](**choice.value)})


def _at_fold(choice: Choice, fold: int) -> Choice:
    reason = f"{choice.reason}; fold {fold} is the first that leaves objects to learn from and to validate by"
    return Choice(choice.key, {**choice.value, "fold": fold}, reason)


def _holds_objects(split: CaseSplit) -> bool:
    """Whether there is an object to learn from, and one to choose epoch and threshold by."""
    return all(any((~case.annotations.ignore).any() for case in cases) for cases in (split.train, split.validation))


def _choose(volumes: Sequence[Volume]) -> Choice:
    sides = {side: [v for v in volumes if v.subset == side] for side in _SIDES}
    if all(sides.values()) and not _crossing(sides):
        counts = ", ".join(f"{len(members)} {side}" for side, members in sides.items())
        reason = f"the data's own index divides the scans ({counts}); no patient is on two sides"
        if unnamed := _unnamed(volumes):
            reason += (
                f"; {unnamed} of the {len(volumes)} annotated scans are left out, since the index names no subset for "
                "them: name one for each to use them too"
            )
        return Choice("data.split", {"kind": "given"}, reason)
    patients = {volume.patient_key for volume in volumes}
    if any(volume.patient_key != volume.volume_id for volume in volumes):
        known = f"{len(patients)} patients are known in {len(volumes)} scans"
        return _by_folds(volumes, len(patients), "patient", known)
    if volumes[0].grid.dims == 3:
        reason = f"no patient is known, so each of the {len(volumes)} scans stands for one: name patients in an index"
        return _by_folds(volumes, len(patients), "patient", reason)
    looks = len(group_by_look(volumes))
    if looks < _FEWEST <= len(volumes):
        reason = (
            f"no patient is known and the {len(volumes)} images look alike ({looks} group(s)): each stands for itself, "
            "so siblings may lie on two sides; name patients in an index"
        )
        return _by_folds(volumes, len(patients), "patient", reason)
    reason = f"no patient is known: the {len(volumes)} images form {looks} groups that look alike, which stay together"
    return _by_folds(volumes, looks, "look", reason)


def _by_folds(volumes: Sequence[Volume], groups: int, by: str, reason: str) -> Choice:
    if groups < _FEWEST - 1:
        raise DatasetError(
            f"{groups} {by} cannot be divided into training and test: at least 2 are needed; annotate scans of more "
            "patients, or name patients and subsets in an index.csv beside the scans"
        )
    if groups < _FEWEST:
        value = {"kind": "folds", "folds": groups, "fold": 0, "group_by": by, "validation": "within"}
        reason += (
            f"; too few for a validation side: {groups} folds, fold 0 is the test set, and a part of each training "
            "scan, of which no patch is drawn, validates"
        )
        return Choice("data.split", value, reason)
    folds = min(_FOLDS, groups)
    value = {"kind": "folds", "folds": folds, "fold": 0, "group_by": by}
    usual = float(np.median([_counting(volume) for volume in volumes]))
    if groups < _FEW and usual >= _MANY_OBJECTS:
        reason += (
            f"; {folds} folds, fold 0 is the test set. With fewer than {_FEW} of them, all others teach: a scan has a "
            f"median of {number(usual)} objects, so a part of each, of which no patch is drawn, validates"
        )
        return Choice("data.split", {**value, "validation": "within", "validation_share": _SLAB}, reason)
    return Choice("data.split", value, f"{reason}; {folds} folds, fold 0 is the test set and fold 1 validates")


def _crossing(sides: dict[str, list[Volume]]) -> bool:
    patients = [{volume.patient_key for volume in members} for members in sides.values()]
    return any(one & other for one, other in combinations(patients, 2))


def _unnamed(volumes: Sequence[Volume]) -> int:
    return sum(volume.subset not in _SIDES for volume in volumes)


def _counting(volume: Volume) -> int:
    return 0 if volume.annotations is None else int((~volume.annotations.ignore).sum())


def _nothing_to_learn(volumes: Sequence[Volume], split: CaseSplit) -> str:
    objects, scans = sum(map(_counting, volumes)), sum(_counting(volume) > 0 for volume in volumes)
    if not objects:
        return (
            f"every object of the {len(volumes)} annotated scans is to be ignored: there is nothing to learn; annotate "
            "objects that count"
        )
    sides = {"training": split.train, "validation": split.validation}
    counts = {side: sum(int((~case.annotations.ignore).sum()) for case in cases) for side, cases in sides.items()}
    return (
        f"{counts['training']} objects that count are in the {len(split.train)} training scans and "
        f"{counts['validation']} in the {len(split.validation)} validation scans, of {objects} in {scans} scan(s): "
        "both need some; annotate objects in scans of more patients, or let the subsets in an index.csv put scans with "
        "objects on the train and validation sides"
    )
