"""What explains a version is made once, and kept where MLflow and the report find it."""

import dataclasses
import json

import numpy as np
import pytest

from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.stages import explaining
from pipeline.tracking.registry import VersionRecord
from pipeline.tracking.run import run_folder, tracked_run
from pipeline.tracking.session import connect
from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells
from tests.stores import copy_store


@pytest.fixture(scope="module")
def made(tmp_path_factory, empty_store):
    """A version without kept explanation (an untrained one, whose threshold all candidates reach), explained."""
    folder = tmp_path_factory.mktemp("explaining")
    settings = copy_store(empty_store, folder)
    raw = tiny_2d().model_dump()
    raw["inference"]["score_floor"] = 0.001
    config = type(tiny_2d()).model_validate(raw)
    bundle = Bundle(config, seeded_network(config).eval(), 0.001)
    cases = split_cases(config.data, [field_of_cells(folder, seed) for seed in range(6)], 0).test
    with tracked_run(settings, "tiny_2d", "trained", {}) as run:
        run.log_json("datasets/split.json", {})
    record = VersionRecord("tiny_2d", "1", run.run_id, folder, {})
    return settings, record, bundle, cases, explaining.explained(record, bundle, cases, settings)


def test_all_pictures_come_with_words(made):
    titles = [picture.title for picture in made[-1]]
    assert len(titles) >= 3
    assert titles[0] == "What the stages of the network respond to"
    assert titles[-1] == "How steady detections are when the input is shifted"
    assert all(picture.png.startswith(b"\x89PNG") and picture.shows and picture.not_shown for picture in made[-1])


def test_the_second_time_they_are_read_and_not_made(made, monkeypatch):
    settings, record, bundle, cases, first = made
    monkeypatch.setattr(explaining, "explain_cases", lambda *given: pytest.fail("made again"))
    again = explaining.explained(record, bundle, cases, settings)
    assert [dataclasses.astuple(one) for one in again] == [dataclasses.astuple(one) for one in first]


def test_figures_are_metrics_of_a_run_and_facts_are_json(made):
    settings = made[0]
    client = connect(settings)
    (run,) = [
        run for run in client.search_runs([client.get_experiment_by_name("tiny_2d").experiment_id])
        if run.data.tags.get("cellscan.kind") == "explain"
    ]  # fmt: skip
    assert run.data.tags["cellscan.model"] == "tiny_2d/1"
    assert {"translation_detections", "translation_cases", "saliency_hits"} <= set(run.data.metrics)
    told = json.loads((run_folder(settings, run.info.run_id, "explanation") / "explanation.json").read_text())
    assert {"hit", "false_positive", "pointing", "pictures"} <= set(told)
    assert told["examined"] == len(made[3])
    assert np.isfinite(run.data.metrics["translation_detections"])


def test_translation_test_that_the_training_kept_is_not_made_again(made, monkeypatch):
    settings, record, bundle, cases, first = made
    with tracked_run(settings, "tiny_2d", "shifted", {}) as run:
        explaining.log_translation(run, bundle, cases, settings)
    assert "translation_score_change" in connect(settings).get_run(run.run_id).data.metrics
    monkeypatch.setattr(explaining, "translation_report", lambda *given: pytest.fail("made again"))
    newer = dataclasses.replace(record, version="2", run_id=run.run_id)
    assert [one.title for one in explaining.explained(newer, bundle, cases, settings)] == [one.title for one in first]


def test_without_cases_nothing_is_made(made):
    settings, record, bundle, _, _ = made
    unknown = dataclasses.replace(record, run_id="0" * 32)
    assert explaining.explained(unknown, bundle, (), settings) == ()
