"""``cellscan starters``, and a starter's name where there is none."""

import pytest

from tests.experiments import tiny_2d
from tests.made_starters import empty_shelf, put_starter


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return empty_shelf(tmp_path, monkeypatch)


def test_starters_are_listed_with_figure_and_licence(cellscan, shelf):
    assert cellscan("starters").stdout == "no starter model came with this cellscan\n"
    made = put_starter(shelf, "discs", tiny_2d())
    assert cellscan("starters").stdout == (
        "starter/discs: 2D detection of discs; F1 0.812 [0.750, 0.870] on 9 test cases of 9 patients; trained on "
        "nobody (CC0 1.0)\n"
    )
    (told,) = cellscan("starters", "--json").json["starters"]
    assert (told["spec"], told["digest"], told["made_at"]) == ("starter/discs", made.digest, "2026-11-23T12:30:00")


def test_a_named_starter_shows_its_card(cellscan, shelf):
    put_starter(shelf, "discs", tiny_2d())
    assert cellscan("starters", "starter/discs").stdout.strip() == "# starter/discs"


def test_an_unknown_starter_is_an_error_that_names_those_there_are(cellscan, shelf, tmp_path):
    put_starter(shelf, "discs", tiny_2d())
    outcome = cellscan("detect", "starter/cells", shelf, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.stderr == (
        "error: no starter model 'starter/cells'; starter models that come with cellscan: starter/discs\n"
    )
