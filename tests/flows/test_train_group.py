"""Folds and seeds below one parent run, on the tiny archive of the flows."""

import json

import pytest
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from prefect.exceptions import ParameterTypeError

from flows.parameters import Experiment
from flows.train_group import train_group as flow
from pipeline.evaluation.pooled import Child, pool
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train import train_version
from pipeline.stages.train_group import train_group
from pipeline.tracking import registry
from pipeline.tracking.session import connect

from .conftest import FIELDS

GROUPED = ["name=grouped"]


@pytest.fixture(scope="module")
def interrupted(place):
    """The group of three folds, whose second training fails: what was trained until then, and the parent run."""
    config = Experiment(path=place.experiment, overrides=GROUPED).load()
    trained, parents = [], []

    def until_the_second(member, parent):
        parents.append(parent)
        if trained:
            raise KeyboardInterrupt
        trained.append(train_version(member, place.settings, parent=parent).spec)
        return trained[0]

    with pytest.raises(KeyboardInterrupt):
        train_group(config, place.settings, "all", train_one=until_the_second)
    status = connect(place.settings).get_run(parents[0]).info.status
    return config, trained, parents[0], status


@pytest.fixture(scope="module")
def group(place, interrupted):
    config, _, _, _ = interrupted
    return train_group(config, place.settings, "all")


def test_killed_and_given_again_it_goes_on_in_the_same_run_without_what_is_finished(interrupted, group):
    _, trained, parent, status = interrupted
    assert status == "KILLED"
    assert group.run_id == parent
    assert trained == ["grouped/1"]
    assert group.versions == ("grouped/1", "grouped/2", "grouped/3")


def test_children_are_below_the_parent_as_mlflow_knows_it(place, group):
    client = connect(place.settings)
    parent = client.get_run(group.run_id)
    found = client.search_runs([parent.info.experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{group.run_id}'")
    assert {run.info.run_id for run in found} == {child["run_id"] for child in group.children}
    assert {run.info.run_name[:-7] for run in found} == {f"train grouped fold {n} seed 0" for n in range(3)}
    assert {run.data.params["data.split.fold"] for run in found} == {"0", "1", "2"}
    assert (parent.info.status, parent.data.tags["cellscan.kind"]) == ("FINISHED", "group")
    assert (parent.data.tags["cellscan.folds"], parent.data.tags["cellscan.seeds"]) == ("0,1,2", "0")


def test_parent_has_the_pooled_figures_of_every_scan_judged_once(place, group):
    evaluations = [
        own_evaluation(registry.resolve(place.settings, version), place.settings) for version in group.versions
    ]
    expected = pool(
        [Child(n, 0, one) for n, one in enumerate(evaluations)], group_config(place).evaluation, ("object",)
    )
    figures = connect(place.settings).get_run(group.run_id).data.metrics
    assert expected.counts["cases"] == FIELDS == sum(len(one.cases) for one in evaluations)
    assert figures["f1"] == expected.metrics["f1"].value
    assert figures["f1_upper"] == expected.metrics["f1"].upper
    assert figures["f1_fold_sd"] == expected.spreads["fold"]["f1"].sd
    assert "f1_seed_sd" not in figures


def group_config(place):
    return Experiment(path=place.experiment, overrides=GROUPED).load()


def test_parent_shows_children_cases_and_pictures(place, group, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.settings.tracking_uri)  # load_table asks the global store for runs
    client = connect(place.settings)
    experiment = client.get_run(group.run_id).info.experiment_id
    children, cases = (
        client.load_table(experiment, f"tables/{name}.json", [group.run_id]) for name in ("children", "cases")
    )
    assert children["version"].tolist() == list(group.versions)
    assert children["fold"].tolist() == [0, 1, 2]
    assert len(cases) == FIELDS
    assert set(cases["version"]) == set(group.versions)
    figures = {file.path for file in client.list_artifacts(group.run_id, "figures")}
    assert "figures/children.png" in figures
    run = client.get_run(group.run_id)
    assert len(run.inputs.model_inputs) == 3
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("grouped-pooled", run.data.tags["cellscan.test_set"])
    assert run.data.tags["mlflow.note.content"].startswith("3 versions together, every scan judged once")


def test_finished_group_is_given_back(place, group):
    again = train_group(group_config(place), place.settings, "all")
    assert again.reused
    assert again.run_id == group.run_id
    assert json.dumps(again.to_json() | {"reused": False}) == json.dumps(group.to_json())


def test_flow_trains_what_is_not_there_one_task_each(place, group, server):
    """Fold 2 from seed 0 is there; from seed 1 it is new."""
    versions = flow(Experiment(path=place.experiment, overrides=GROUPED), [2], [0, 1])
    assert versions == ("grouped/3", "grouped/4")
    client = connect(place.settings)
    run = client.get_run(client.get_model_version("grouped", "4").run_id)
    assert (run.data.params["training.seed"], run.data.params["seed"]) == ("1", "0")
    third, fourth = (own_evaluation(registry.resolve(place.settings, one), place.settings) for one in versions)
    assert fourth.test_set == third.test_set
    assert fourth.cases["case_id"].tolist() == third.cases["case_id"].tolist()


def test_wrong_folds_are_refused_before_anything_runs(place):
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters({"experiment": str(place.experiment), "folds": "some"})
