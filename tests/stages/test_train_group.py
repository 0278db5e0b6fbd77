"""Which trainings a group has."""

import pytest

from pipeline.config import ExperimentConfig
from pipeline.errors import ConfigError
from pipeline.stages.train_group import members_of
from tests.experiments import tiny_2d


def with_split(split):
    tree = tiny_2d().model_dump()
    tree["data"]["split"] = split
    return ExperimentConfig.model_validate(tree)


def numbered(members):
    return [(member.fold, member.seed) for member in members]


def test_all_folds_with_every_seed_in_order():
    members = members_of(tiny_2d(), "all", [4, 2])
    assert numbered(members) == [(0, 4), (0, 2), (1, 4), (1, 2), (2, 4), (2, 2)]
    assert [member.config.data.split.fold for member in members] == [0, 0, 1, 1, 2, 2]
    assert [member.config.training_seed for member in members] == [4, 2] * 3


def test_seed_of_training_leaves_the_division_of_the_data_alone():
    (member,) = members_of(tiny_2d(), None, [7])
    assert (member.config.seed, member.config.training.seed) == (0, 7)


def test_experiment_as_it_stands_is_a_member_with_its_very_configuration():
    config = tiny_2d()
    (own, other) = members_of(config, None, [0, 1])
    assert own.config.digest() == config.digest() != other.config.digest()
    seeded = tiny_2d(seed=3)
    assert members_of(seeded, [0], None)[0].config.digest() == seeded.digest()
    assert members_of(seeded, [0], [0])[0].config.digest() == config.digest()


def test_digest_of_experiments_from_before_there_was_a_seed_of_training_is_the_same():
    assert tiny_2d(seed=None).digest() == tiny_2d().digest() != tiny_2d(seed=0).digest()


def test_given_split_has_seeds_but_no_folds():
    config = with_split({"kind": "given"})
    assert numbered(members_of(config, None, [0, 1])) == [(None, 0), (None, 1)]
    with pytest.raises(ConfigError, match=r"data\.split\.kind is 'given': only an experiment that is split by folds"):
        members_of(config, "all", None)


@pytest.mark.parametrize(
    ("folds", "seeds", "message"),
    [
        ([3], None, r"folds are numbered 0 … 2 \(data.split.folds\), got \[3\]"),
        ([1, 1], None, r"each fold once, got \[1, 1\]"),
        (None, [2, 2], r"each seed once, got \[2, 2\]"),
        ([], None, "name at least one fold"),
        (None, [-1], r"a seed is 0 or more, got \[-1\]"),
        ([-1], None, r"a fold is 0 or more, got \[-1\]"),
    ],
)
def test_what_cannot_be_is_refused(folds, seeds, message):
    with pytest.raises(ConfigError, match=message):
        members_of(tiny_2d(), folds, seeds)
