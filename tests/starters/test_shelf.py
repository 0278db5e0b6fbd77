"""Which starters there are, whether they are whole, and what they fit."""

import json

import pytest

from pipeline.config import ExperimentConfig
from pipeline.errors import ModelError
from pipeline.starters import fitting, is_starter, starter, starters
from tests.experiments import tiny_2d, tiny_3d
from tests.made_starters import empty_shelf, put_starter


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return empty_shelf(tmp_path, monkeypatch)


def test_starters_are_listed_by_name_and_found_as_they_were_written(shelf):
    lesions, cells = put_starter(shelf, "lesions-3d", tiny_3d()), put_starter(shelf, "cells-2d", tiny_2d())
    assert starters() == (cells, lesions)
    assert starter("starter/lesions-3d") == starter("models:/starter/lesions-3d") == lesions
    assert cells.card == "# starter/cells-2d\n"


def test_a_folder_without_its_facts_is_no_starter(shelf):
    (shelf / "__pycache__").mkdir()
    (shelf / "notes").mkdir()
    assert starters() == ()


@pytest.mark.parametrize(
    ("spec", "says"),
    [("starter/nuclei-2d", True), ("models:/starter/a1", True), ("starter/3", False), ("starter@champion", False)],
)
def test_a_starters_name_begins_with_a_letter_so_that_a_model_called_starter_has_versions(spec, says):
    assert is_starter(spec) is says


def test_an_unknown_starter_is_told_with_those_that_there_are(shelf):
    with pytest.raises(ModelError, match=r"no starter model 'starter/lungs'; starter models .*: none$"):
        starter("starter/lungs")
    put_starter(shelf, "cells-2d", tiny_2d())
    with pytest.raises(ModelError, match=r"no starter model 'starter/lungs'; .*: starter/cells-2d$"):
        starter("starter/lungs")


@pytest.mark.parametrize("name", ["weights.safetensors", "bundle.json", "experiment.json"])
def test_a_changed_byte_is_seen(shelf, name):
    made = put_starter(shelf, "cells-2d", tiny_2d())
    content = bytearray((made.folder / name).read_bytes())
    content[-2] ^= 1
    (made.folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"starter/cells-2d .* is damaged: .* expected {made.digest[:16]}; install"):
        starter("starter/cells-2d")


def test_a_missing_file_is_named(shelf):
    made = put_starter(shelf, "cells-2d", tiny_2d())
    (made.folder / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"is damaged \(FileNotFoundError: .*weights\.safetensors"):
        starter("starter/cells-2d")


@pytest.mark.parametrize("written", ["{", "[]", "{}", '{"format": "1"}'])
def test_facts_that_are_no_facts_are_damage(shelf, written):
    made = put_starter(shelf, "cells-2d", tiny_2d())
    (made.folder / "starter.json").write_text(written)
    with pytest.raises(ModelError, match=r"starter/cells-2d .* is damaged"):
        starters()


def test_a_newer_format_asks_for_a_newer_cellscan_whatever_else_it_says(shelf):
    made = put_starter(shelf, "cells-2d", tiny_2d())
    told = json.loads((made.folder / "starter.json").read_text())
    (made.folder / "starter.json").write_text(json.dumps(told | {"format": 2, "cellscan": "3.0.0", "new": 1}))
    with pytest.raises(ModelError, match=r"written by cellscan 3\.0\.0 in format 2, .* up to 1: use a newer cellscan"):
        starter("starter/cells-2d")


def _changed(config, **keys):
    raw = config.model_dump()
    for path, value in keys.items():
        stage, key = path.split("__")
        raw[stage][key] = value
    return ExperimentConfig.model_validate(raw)


def test_a_starter_fits_what_has_its_dimensions_and_backbone(shelf):
    cells, lesions = put_starter(shelf, "cells-2d", tiny_2d()), put_starter(shelf, "lesions-3d", tiny_3d())
    assert fitting(tiny_2d()) == cells
    assert fitting(tiny_3d()) == lesions
    assert fitting(_changed(tiny_2d(), data__classes=["other"], preprocessing__channels=3)) == cells
    assert fitting(_changed(tiny_2d(), preprocessing__channels=2)) is None
    wider = {"kind": "residual_unet", "widths": [8, 16, 32], "strides": [2, 2]}
    assert fitting(_changed(tiny_2d(), detector__backbone=wider)) is None
