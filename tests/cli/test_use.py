"""Wrong use, wrong names and wrong values: what comes back."""

import pytest


@pytest.mark.parametrize(
    "arguments", [("ingest",), ("detect", "a/1", "b"), ("train", "x.yaml", "--epochs", "3"), ("fly",)]
)
def test_wrong_use_exits_with_2(cellscan, arguments):
    assert cellscan(*arguments).code == 2


def test_a_missing_experiment_is_named(cellscan, tmp_path):
    outcome = cellscan("train", tmp_path / "none.yaml")
    assert outcome.code == 1
    assert outcome.stderr == f"error: no experiment file at {tmp_path / 'none.yaml'}\n"


def test_a_wrong_version_is_an_error_object_with_json(cellscan):
    outcome = cellscan("promote", "lesions", "--json")
    assert outcome.code == 1
    assert outcome.json["kind"] == "ModelError"


def test_version_is_printed(cellscan):
    from importlib.metadata import version

    assert cellscan("--version").stdout == f"cellscan {version('cellscan')}\n"


def test_home_option_wins_over_the_environment(cellscan, tmp_path):
    outcome = cellscan("doctor", "--json", "--home", tmp_path / "elsewhere")
    (home,) = [finding for finding in outcome.json["findings"] if finding["topic"] == "home"]
    assert home["facts"]["home"] == str(tmp_path / "elsewhere")
