"""Volumes → training, validation and test cases, with no patient (or look) on two sides."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from pipeline.config.data import DataConfig, FoldSplit
from pipeline.datasets.cases import Case, make_cases
from pipeline.datasets.looks import group_by_look
from pipeline.datasets.seen import Seen
from pipeline.datasets.select import select_volumes
from pipeline.datasets.share import part_of
from pipeline.datasets.slabs import divided
from pipeline.errors import DatasetError
from pipeline.volumes import Volume


@dataclass(frozen=True, eq=False)
class CaseSplit:
    """Patches are drawn from training cases: whole volumes, or what validation leaves of them. The others are cases as
    configured. ``masks``: the objects' masks are part of the data, not their boxes alone."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    masks: bool = False

    @cached_property
    def digest(self) -> str:
        """16 hex digits over every case, its annotations and its side."""
        text = hashlib.sha256()
        for side, cases in self.sides().items():
            for case in sorted(cases, key=lambda case: case.case_id):
                text.update(f"{side}:".encode() + case.fingerprint(self.masks))
        return text.hexdigest()[:16]

    def sides(self) -> dict[str, tuple[Case, ...]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def seen(self) -> Seen:
        """Whose data shape a model that is made from this split."""
        return Seen.in_cases(self.train + self.validation)

    def summary(self) -> dict[str, dict[str, int]]:
        return {
            side: {
                "cases": len(cases),
                "patients": len({case.patient_key for case in cases}),
                "objects": sum(int((~case.annotations.ignore).sum()) for case in cases),
            }
            for side, cases in self.sides().items()
        }


def split_cases(
    config: DataConfig,
    volumes: Sequence[Volume],
    seed: int,
    share_seed: int | None = None,
    masks: bool = False,
) -> CaseSplit:
    """Choose, label and divide the volumes of an experiment.

    Args:
        config: what to choose and how to divide it.
        volumes: all there are.
        seed: of the division and of windows.
        share_seed: draws the patients of ``data.share``; by default ``seed``. The other sides do not depend on it.
        masks: as in `CaseSplit`.

    Raises:
        DatasetError: a side would be empty, or the index that ``split.kind: given`` relies on names none.
    """
    chosen = sorted(select_volumes(config, volumes), key=lambda volume: volume.volume_id)
    sides = _by_folds(config.split, chosen, seed) if isinstance(config.split, FoldSplit) else _as_given(chosen)
    empty = [name for name, members in zip(("train", "validation", "test"), sides, strict=True) if not members]
    if empty:
        raise DatasetError(f"no volume on the {empty[0]} side of {len(chosen)} volumes: add data or change data.split")
    train, validation, test = sides
    used = part_of(train, config.share, seed if share_seed is None else share_seed)
    if isinstance(config.split, FoldSplit) and config.split.validation == "within":
        within = config.split.validation_share
        return CaseSplit(
            tuple(divided(volume, within)[0] for volume in used),
            tuple(divided(volume, within)[1] for volume in train),
            make_cases(config, test, seed),
            masks,
        )
    return CaseSplit(
        tuple(Case.whole(volume) for volume in used),
        make_cases(config, validation, seed),
        make_cases(config, test, seed),
        masks,
    )


def all_cases(config: DataConfig, volumes: Sequence[Volume], seed: int) -> tuple[Case, ...]:
    """Every annotated volume of the right kind as cases, undivided: for scoring a version on other data."""
    return make_cases(config, sorted(select_volumes(config, volumes), key=lambda volume: volume.volume_id), seed)


def _by_folds(config: FoldSplit, volumes: list[Volume], seed: int) -> tuple[list[Volume], list[Volume], list[Volume]]:
    if config.fold >= config.folds:
        raise DatasetError(f"data.split.fold must be below data.split.folds={config.folds}, got {config.fold}")
    groups = _groups(config, volumes)
    if len(groups) < config.folds:
        raise DatasetError(f"{config.folds} folds need as many groups by {config.group_by}, got {len(groups)}")
    folds: list[list[Volume]] = [[] for _ in range(config.folds)]
    for members in _dealing_order(groups, seed):
        min(folds, key=len).extend(members)
    if config.validation == "within":
        rest = [volume for n, fold in enumerate(folds) if n != config.fold for volume in fold]
        return rest, rest, folds[config.fold]
    test, validation = config.fold, (config.fold + 1) % config.folds
    rest = [volume for n, fold in enumerate(folds) if n not in (test, validation) for volume in fold]
    return rest, folds[validation], folds[test]


def _groups(config: FoldSplit, volumes: list[Volume]) -> list[list[Volume]]:
    if config.group_by == "look":
        return [_as_one_patient(members) for members in group_by_look(volumes)]
    by_patient: dict[str, list[Volume]] = defaultdict(list)
    for volume in volumes:
        by_patient[volume.patient_key].append(volume)
    return list(by_patient.values())


def _as_one_patient(siblings: list[Volume]) -> list[Volume]:
    """Siblings count as one patient from here on: intervals are drawn by them, and a model has seen all or none."""
    key = f"look-{min(volume.volume_id for volume in siblings)[:11]}"
    return [replace(volume, patient_key=key) for volume in siblings]


def _dealing_order(groups: list[list[Volume]], seed: int) -> list[list[Volume]]:
    """Large groups first, so that the folds come out even; equals in seeded random order."""
    order = np.random.default_rng(seed).permutation(len(groups))
    return sorted((groups[n] for n in order), key=len, reverse=True)


def _as_given(volumes: list[Volume]) -> tuple[list[Volume], list[Volume], list[Volume]]:
    named = {side: [v for v in volumes if v.subset == side] for side in ("train", "validation", "test")}
    patients = {side: {volume.patient_key for volume in members} for side, members in named.items()}
    crossing = {patient for one, other in combinations(patients.values(), 2) for patient in one & other}
    if crossing:
        raise DatasetError(f"the index puts {len(crossing)} patient(s) on two sides: divide them anew, or by folds")
    return named["train"], named["validation"], named["test"]
