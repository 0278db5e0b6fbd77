import pytest

from pipeline.cli.numbers import parse_folds, parse_seeds
from pipeline.errors import ConfigError


def test_folds_and_seeds_are_numbers_with_commas():
    assert parse_folds("0,2") == (0, 2)
    assert parse_folds(" 1 ") == (1,)
    assert parse_seeds("0, 1,2") == (0, 1, 2)


def test_all_folds_and_none():
    assert parse_folds("all") == "all"
    assert parse_folds(None) is None
    assert parse_seeds(None) is None


@pytest.mark.parametrize("text", ["", "0-2", "a", "0,,1", "-1", "0 1"])
def test_anything_else_is_refused_with_what_came(text):
    with pytest.raises(ConfigError, match="--folds takes all or numbers such as 0,2, got"):
        parse_folds(text)
    with pytest.raises(ConfigError, match="--seeds takes numbers such as 0,1,2, got"):
        parse_seeds(text)


def test_all_seeds_there_are_not():
    with pytest.raises(ConfigError, match="got 'all'"):
        parse_seeds("all")
