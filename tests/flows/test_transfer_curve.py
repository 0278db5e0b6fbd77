"""A transfer curve of one seed on two shares, on the tiny archive of the flows: five patients to train on."""

import json

import pytest
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from flows.parameters import Experiment
from flows.transfer_curve import transfer_curve as flow
from pipeline.cli import main
from pipeline.stages.train import INITIAL_TAG, train_version
from pipeline.stages.transfer_curve import transfer_curve
from pipeline.tracking.registry import DIGEST_TAG, resolve
from pipeline.tracking.run import epoch_history, run_folder
from pipeline.tracking.session import connect

CHANGES = ["name=curved", "training.max_epochs=2"]
SHARES = [0.2, 1.0]


@pytest.fixture(scope="module")
def source(place):
    """A version that is also the curve's own from scratch with everything."""
    return train_version(_experiment(place).load(), place.settings, shift=False)


@pytest.fixture(scope="module")
def interrupted(place, source):
    """The parent run of a curve whose second training was interrupted, and its status then."""
    trained, parents = [], []

    def until_the_second(member, parent):
        parents.append(parent)
        if trained:
            raise KeyboardInterrupt
        trained.append(train_version(member, place.settings, parent=parent, shift=False).spec)
        return trained[0]

    with pytest.raises(KeyboardInterrupt):
        transfer_curve(_experiment(place).load(), place.settings, source.spec, SHARES, 1, train_one=until_the_second)
    return parents[0], trained[0], connect(place.settings).get_run(parents[0]).info.status


@pytest.fixture(scope="module")
def versions(place, source, interrupted, server):
    """What the flow made of it, one task each."""
    return flow(_experiment(place), source.spec, SHARES, 1)


@pytest.fixture(scope="module")
def found(place, source, versions):
    return transfer_curve(_experiment(place).load(), place.settings, source.spec, SHARES, 1)


def _experiment(place):
    return Experiment(path=place.experiment, overrides=CHANGES)


def test_interrupted_curve_goes_on_in_the_same_run_and_trains_nothing_twice(interrupted, source, versions, found):
    parent, first, status = interrupted
    assert status == "KILLED"
    assert found.run_id == parent
    assert versions == (first, "curved/3", source.spec, "curved/4") == ("curved/2", "curved/3", "curved/1", "curved/4")
    assert [(row["way"], row["share"]) for row in found.children] == [
        ("scratch", 0.2), ("transferred", 0.2), ("scratch", 1.0), ("transferred", 1.0)
    ]  # fmt: skip


def test_finished_curve_is_given_back_as_it_was_drawn(place, found):
    assert found.reused
    kept = json.loads((run_folder(place.settings, found.run_id, "transfer_curve") / "curve.json").read_text())
    assert json.dumps(kept) == json.dumps(found.to_json() | {"reused": False})


def test_trainings_name_the_digest_of_the_weights_that_they_started_from(place, source, found):
    digest = resolve(place.settings, source.spec).tags[DIGEST_TAG]
    runs = [connect(place.settings).get_run(row["run_id"]) for row in found.children]
    assert [run.data.tags.get(INITIAL_TAG) for run in runs] == [None, digest, None, digest]


def test_trainings_saw_their_share_of_the_patients_and_were_judged_on_the_same_cases(place, found):
    assert [row["patients"] for row in found.children] == [1, 1, 5, 5]
    assert found.curve.shares == (0.2, 1.0)
    assert [size["cases"] for size in found.sizes] == [1, 5]
    client = connect(place.settings)
    runs = [client.get_run(row["run_id"]) for row in found.children]
    assert {run.data.tags["cellscan.test_set"] for run in runs} == {found.curve.test_set}
    assert {run.data.tags[MLFLOW_PARENT_RUN_ID] for run in runs} == {found.run_id}
    assert [run.data.params.get("data.share") for run in runs] == ["0.2", "0.2", None, None]
    assert runs[0].info.run_name.startswith("train curved fold 0 share 0.2 seed 0 ")


def test_validations_are_those_that_the_runs_logged_at_their_steps(place, found):
    validated = found.curve.validated["transferred"]
    history = epoch_history(place.settings, found.children[3]["run_id"], "validation_primary")
    assert validated.steps == (2, 4) == tuple(2 * epoch for epoch in history)  # 4 patches in batches of 2
    assert validated.each == (tuple(history.values()),)
    assert found.curve.steps == 4


def test_parent_run_has_the_curve_as_figures_table_and_picture(place, found):
    client = connect(place.settings)
    run = client.get_run(found.run_id)
    points = client.get_metric_history(found.run_id, "transferred_f1")
    assert [(point.step, point.value) for point in points] == [
        (patients, one.figure.value)
        for patients, one in zip((1, 5), found.curve.curves["transferred"], strict=True)
        if one.figure.value == one.figure.value
    ]
    assert (run.info.status, run.data.tags["cellscan.kind"]) == ("FINISHED", "transfer_curve")
    assert run.data.tags["cellscan.transferred_from"] == "curved/1"
    assert run.data.tags["mlflow.note.content"].startswith("From scratch, all data give f1 ")
    logged = {file.path for folder in ("figures", "tables") for file in client.list_artifacts(found.run_id, folder)}
    assert {"figures/transfer_curve.png", "tables/curve.csv", "tables/children.csv"} <= logged
    assert len(run.inputs.model_inputs) == 4


def test_command_gives_the_finished_curve_as_json(place, found, capfd):
    asked = ["--from", "curved/1", "--shares", "0.2,1", "--seeds", "1"]
    changed = [part for change in CHANGES for part in ("--set", change)]
    with pytest.raises(SystemExit) as end:
        main(["transfer-curve", str(place.experiment), *asked, *changed, "--json"])
    assert end.value.code in (0, None)
    given = json.loads(capfd.readouterr().out)
    assert (given["run_id"], given["reused"], given["source"]) == (found.run_id, True, "curved/1")
