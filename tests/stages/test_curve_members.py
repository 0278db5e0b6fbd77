"""Which trainings a transfer curve has."""

import pytest

from pipeline.config import ExperimentConfig
from pipeline.errors import ConfigError
from pipeline.stages.curve_members import check_apart, curve_members, transferred_from
from tests.experiments import tiny_2d


def with_imagenet(pretrained=True, **training):
    tree = tiny_2d(**training).model_dump()
    tree["preprocessing"]["channels"] = 3
    tree["detector"]["backbone"] = {"kind": "efficientnet_lite0", "pretrained": pretrained}
    return ExperimentConfig.model_validate(tree)


def starts(members):
    return [(one.way, one.config.training.initial_weights) for one in members]


def test_both_ways_at_every_share_from_every_seed():
    members = curve_members(tiny_2d(initial_weights="nuclei/3", seed=4), (1, 0.25), 2)
    assert [(one.share, one.seed, one.way) for one in members] == [
        (share, seed, way) for share in (0.25, 1) for seed in (4, 5) for way in ("scratch", "transferred")
    ]
    assert all((one.config.data.share, one.config.training_seed) == (one.share, one.seed) for one in members)
    assert starts(members) == [("scratch", None), ("transferred", "nuclei/3")] * 4
    assert {one.config.seed for one in members} == {0}


@pytest.mark.parametrize("pretrained", [True, False])
def test_backbone_with_weights_of_its_own_is_transferred_from_imagenet(pretrained):
    config = with_imagenet(pretrained)
    members = curve_members(config, (0.5, 1), 1)
    assert [one.config.detector.backbone.pretrained for one in members] == [False, True] * 2
    assert transferred_from(config) == "ImageNet weights"


def test_weights_to_start_from_come_before_imagenet_and_leave_the_backbone_as_it_is():
    config = with_imagenet(False, initial_weights="cells@champion")
    members = curve_members(config, (0.5, 1), 1)
    assert [one.config.detector.backbone.pretrained for one in members] == [False] * 4
    assert transferred_from(config) == "cells@champion"


def test_experiment_as_it_stands_is_a_member_with_its_very_configuration():
    plain, transferred = tiny_2d(), tiny_2d(initial_weights="nuclei/3")
    members = curve_members(transferred, (0.5, 1), 1)
    assert members[2].config.digest() == plain.digest()
    assert members[3].config.digest() == transferred.digest()
    assert len({one.config.digest() for one in members}) == 4


def test_every_training_has_the_same_steps_unless_they_follow_the_data():
    config = tiny_2d(initial_weights="nuclei/3")  # 16 patches an epoch in batches of 4
    assert {one.config.epoch_steps for one in curve_members(config, (0.1, 0.5, 1), 1)} == {4}
    by_data = curve_members(config, (0.1, 0.5, 1), 1, steps_by_data=True)
    assert [one.config.sampling.samples_per_epoch for one in by_data] == [2, 2, 8, 8, 16, 16]
    assert [one.config.epoch_steps for one in by_data] == [1, 1, 2, 2, 4, 4]


def test_network_without_anything_to_start_from_cannot_be_transferred():
    with pytest.raises(ConfigError, match="backbone residual_unet has no weights of its own to transfer"):
        curve_members(tiny_2d(), (0.5, 1), 1)


@pytest.mark.parametrize(
    ("shares", "seeds", "message"),
    [
        ((0.5,), 1, r"different shares, two or more, and 1 \(all data\) among them, got \[0.5\]"),
        ((1.0,), 1, "two or more"),
        ((0.5, 0.5, 1), 1, "different shares"),
        ((0.25, 0.5), 1, "1 .all data. among them"),
        ((0, 1), 1, r"above 0 and at most 1, got \[0\]"),
        ((0.5, 1, 5), 1, r"above 0 and at most 1, got \[5\]"),
        ((0.5, float("nan"), 1), 1, "above 0"),
        ((0.5, 1), 0, "at least one seed, got 0"),
    ],
)
def test_what_makes_no_curve_is_refused(shares, seeds, message):
    with pytest.raises(ConfigError, match=message):
        curve_members(tiny_2d(initial_weights="nuclei/3"), shares, seeds)


def test_experiment_that_has_a_share_of_its_own_is_refused():
    tree = tiny_2d(initial_weights="nuclei/3").model_dump()
    tree["data"]["share"] = 0.5
    with pytest.raises(ConfigError, match=r"sets data\.share: leave it out of the experiment, got 0\.5"):
        curve_members(ExperimentConfig.model_validate(tree), (0.5, 1), 1)


def test_shares_that_would_be_the_same_patients_are_refused():
    check_apart((0.05, 0.1, 0.25, 0.5, 1), 30)
    with pytest.raises(
        ConfigError, match=r"shares 0\.05 and 0\.1 are both 1 of the 12 training patients: leave one out"
    ):
        check_apart((0.05, 0.1, 0.25, 0.5, 1), 12)
