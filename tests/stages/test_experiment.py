from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.datasets.cases import Case
from pipeline.datasets.split import split_cases
from pipeline.errors import DatasetError, SourceError
from pipeline.settings import Settings
from pipeline.stages.experiment import check_masks, check_objects, experiment_source, named_source
from pipeline.stages.ingest import source_folder
from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells


def _config(source):
    return SimpleNamespace(data=SimpleNamespace(source=str(source)))


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A folder ``scans`` below the data folder, and another one below the working folder."""
    for place in ("data", "here"):
        (tmp_path / place / "scans").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return Settings(tmp_path / "home", tmp_path / "data", "cpu", "", "", None)


def test_what_an_experiment_names_does_not_depend_on_the_working_folder(settings, tmp_path):
    assert experiment_source(_config("scans"), settings) == tmp_path / "data" / "scans"
    assert named_source(_config("scans"), settings) == tmp_path / "data" / "scans"
    assert source_folder(experiment_source(_config("scans"), settings), settings) == tmp_path / "data" / "scans"


def test_what_a_user_names_is_looked_for_in_the_working_folder_first(settings, tmp_path):
    assert source_folder("scans", settings) == tmp_path / "here" / "scans"
    (tmp_path / "data" / "others").mkdir()
    assert source_folder("others", settings) == tmp_path / "data" / "others"


def test_an_absolute_source_is_taken_as_it_is(settings, tmp_path):
    assert experiment_source(_config(tmp_path / "here"), settings) == tmp_path / "here"


def test_a_source_that_is_only_in_the_working_folder_is_refused(settings, tmp_path):
    (tmp_path / "here" / "local").mkdir()
    with pytest.raises(SourceError, match=r"data/local \(data.source is 'local'\); CELLSCAN_DATA"):
        experiment_source(_config("local"), settings)
    assert named_source(_config("local"), settings) == tmp_path / "data" / "local"


def _case(name, objects, label_map_path):
    volume = SimpleNamespace(label_map_path=label_map_path)
    return SimpleNamespace(case_id=name, annotations=range(objects), volume=volume)


@pytest.mark.parametrize("side", ["train", "validation", "test"])
def test_cases_without_masks_are_refused_before_a_training_that_is_judged_by_masks(side, tmp_path):
    sides = {name: (_case("a", 2, tmp_path), _case("b", 0, None)) for name in ("train", "validation", "test")}
    sides[side] = (*sides[side], _case("c", 1, None))
    split = SimpleNamespace(sides=lambda: sides)
    config = SimpleNamespace(evaluation=SimpleNamespace(match=SimpleNamespace(kind="mask_overlap")))
    with pytest.raises(DatasetError, match=f"1 of 3 {side} cases, such as c, are annotated with boxes or points only"):
        check_masks(config, split)
    config.evaluation.match.kind = "box_overlap"
    check_masks(config, split)


def test_a_side_without_an_object_is_told_before_the_training(tmp_path):
    config = tiny_2d()
    volumes = [field_of_cells(tmp_path, seed, cells=6) for seed in range(3)]
    check_objects(split_cases(config.data, volumes, 0))
    split = split_cases(config.data, volumes, 0)
    for side in ("train", "validation"):
        empty = field_of_cells(tmp_path, 9, cells=0)
        with pytest.raises(DatasetError, match=f"none of the 1 {side} cases has an object"):
            check_objects(replace(split, **{side: (Case.whole(empty),)}))
