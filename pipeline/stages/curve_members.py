"""Which trainings a transfer curve has: both ways in, on every share of the data, from every seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from pipeline.config import ExperimentConfig
from pipeline.datasets.share import groups_in
from pipeline.errors import ConfigError
from pipeline.evaluation.learning_curve import SCRATCH, WAYS, Way
from pipeline.stages.train_group import member_config

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
IMAGENET = "ImageNet weights"
_OF_TRANSFER = ("frozen_stages", "layer_decay")  # without weights to keep, what is frozen would stay random


@dataclass(frozen=True)
class CurveMember:
    """One training. ``share`` is what was asked for."""

    way: Way
    share: float
    seed: int
    config: ExperimentConfig


def curve_members(
    config: ExperimentConfig, shares: Sequence[float] = SHARES, seeds: int = 3, steps_by_data: bool = False
) -> tuple[CurveMember, ...]:
    """Every training of a curve, both ways on a share one after the other, the smallest share first.

    Transferred starts from ``training.initial_weights`` or, without any, from the ImageNet weights of the backbone. A
    member that is the experiment as it stands has its very configuration, so that it is not trained twice.

    Args:
        config: the experiment.
        shares: of the training patients; 1 among them.
        seeds: how many, from the experiment's own upwards.
        steps_by_data: the share is also that of the optimisation steps; else every training has the same number.

    Raises:
        ConfigError: shares that make no curve, no seed, or nothing to transfer from.
    """
    _check(config, shares, seeds)
    first = config.training_seed
    return tuple(
        CurveMember(way, share, seed, _member_config(member_config(config, None, seed), way, share, steps_by_data))
        for share in sorted(shares)
        for seed in range(first, first + seeds)
        for way in WAYS
    )


def transferred_from(config: ExperimentConfig) -> str:
    """What the transferred detectors start from, in words."""
    return config.training.initial_weights or IMAGENET


def check_apart(shares: Sequence[float], groups: int) -> None:
    """Refuse shares of which two would be the same training patients.

    Raises:
        ConfigError: naming them.
    """
    numbers: dict[int, list[float]] = {}
    for share in sorted(shares):
        numbers.setdefault(groups_in(share, groups), []).append(share)
    for number, same in numbers.items():
        if len(same) > 1:
            told = " and ".join(f"{share:g}" for share in same)
            raise ConfigError(f"shares {told} are both {number} of the {groups} training patients: leave one out")


def _check(config: ExperimentConfig, shares: Sequence[float], seeds: int) -> None:
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise ConfigError(f"a share of the data is above 0 and at most 1, got {wrong}")
    if len(set(shares)) < len(shares) or 1 not in shares or len(shares) < 2:
        raise ConfigError(f"expected different shares, two or more, and 1 (all data) among them, got {list(shares)}")
    if seeds < 1:
        raise ConfigError(f"a curve needs at least one seed, got {seeds}")
    if config.data.share != 1:
        raise ConfigError(
            f"the curve itself sets data.share: leave it out of the experiment, got {config.data.share:g}"
        )


def _member_config(config: ExperimentConfig, way: Way, share: float, steps_by_data: bool) -> ExperimentConfig:
    tree = config.model_dump()
    tree["data"]["share"] = share
    if steps_by_data:
        tree["sampling"]["samples_per_epoch"] = ceil(share * config.sampling.samples_per_epoch)
    _start(tree["training"], tree["detector"]["backbone"], way)
    return ExperimentConfig.model_validate(tree)


def _start(training: dict[str, Any], backbone: dict[str, Any], way: Way) -> None:
    """Set what a training of this way begins with."""
    if way == SCRATCH:
        training["initial_weights"] = None
        for name in _OF_TRANSFER:
            training.pop(name, None)
        if "pretrained" in backbone:
            backbone["pretrained"] = False
    elif training["initial_weights"] is None:
        if "pretrained" not in backbone:
            raise ConfigError(
                f"backbone {backbone['kind']} has no weights of its own to transfer: name a version to start from "
                "(--from name@champion, or training.initial_weights)"
            )
        backbone["pretrained"] = True
