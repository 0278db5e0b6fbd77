import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError

from flows.compare import compare
from flows.parameters import Experiment
from flows.scan_to_report import scan_to_report
from pipeline.errors import ConfigError
from pipeline.stages.detect import detect_archive
from pipeline.stages.evaluate import evaluate_version
from pipeline.stages.train import train_version
from pipeline.tracking import registry
from pipeline.tracking.session import connect

from .conftest import FIELDS, SECRET

_PREDICT = """
import sys
import mlflow
import pandas as pd
model = mlflow.pyfunc.load_model("models:/fields@champion")
everything = {"threshold": 0.0}
listed = model.predict(sys.argv[1:], params=everything)
table = model.predict(pd.DataFrame({"path": sys.argv[1:]}), params=everything)
assert listed.equals(table)
print(listed.to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def recorded(outcome):
    with get_client(sync_client=True) as client:
        from prefect.client.schemas.sorting import FlowRunSort

        runs = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200)
        names = {flow_id: client.read_flow(flow_id).name for flow_id in {run.flow_id for run in runs}}
        answer = client._client.post("/artifacts/filter", json={"limit": 200})
        own = [(names[run.flow_id], run) for run in runs if run.deployment_id is None]  # others are only planned
        return own, answer.json()


def test_the_whole_way_gives_versions_champion_detections_and_report(place, outcome):
    assert outcome.versions == ("fields/1", "fields/2")
    champion = registry.champion(place.settings, "fields")
    assert outcome.champions == (f"fields/{champion}",)
    (results,) = outcome.results
    summary = json.loads((results / "summary.json").read_text())
    assert summary["counts"]["scans"] == FIELDS
    overlays, geojson = list((results / "overlays").glob("*.png")), list((results / "geojson").glob("*.geojson"))
    assert len(overlays) == len(geojson) == FIELDS
    table = pd.read_parquet(results / "detections.parquet")
    assert len(table) == summary["counts"]["detections"] == len(pd.read_csv(results / "detections.csv"))
    assert (table["score"] >= summary["threshold"]).all()
    assert list(summary["quarantined"]) == [f"images/{SECRET}_broken.png"]
    page = outcome.report.read_text()
    assert "version 1" in page
    assert "version 2" in page
    assert SECRET not in page


def test_every_flow_is_recorded_as_completed(recorded):
    runs, _ = recorded
    flows = {"scan_to_report", "ingest", "train", "evaluate", "promote", "detect", "compare", "report"}
    assert {name for name, _ in runs} >= flows
    assert {run.state_name for name, run in runs if name in flows} == {"Completed"}


def test_runs_show_tables_and_pictures(recorded):
    _, artifacts = recorded
    kinds = {artifact["key"]: artifact["type"] for artifact in artifacts}
    assert kinds["ingest"] == kinds["quarantine"] == kinds["evaluation-fields-1"] == "table"
    assert kinds["comparison-fields-1-fields-2"] == "table"
    assert kinds["evaluation-fields-1-figures"] == "image"
    assert any(key.endswith("-overlay") and kind == "image" for key, kind in kinds.items())


def test_no_name_of_a_patient_is_kept_by_servers_and_reports(place, outcome):
    kept = [place.settings.home / "mlflow.db", place.settings.home / "prefect" / "prefect.db", outcome.report]
    kept += [path for path in place.settings.artifacts.rglob("*") if path.is_file()]
    kept += [path for path in place.settings.home.rglob("*.db-wal") if "catalog" not in path.name]
    # Read by another process: where this one closes a database's file, SQLite's locks on it are gone, and the next that
    # ends takes the log away from under us.
    found = subprocess.run(["grep", "-l", SECRET, *kept], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


def test_training_run_holds_data_figures_and_pictures(place, outcome):
    client = connect(place.settings)
    run = client.get_run(registry.resolve(place.settings, "fields/1").run_id)
    assert run.info.status == "FINISHED"
    assert {"f1", "f1_lower", "f1_upper", "loss", "translation_detections"} <= set(run.data.metrics)
    contexts = {one.tags[0].value for one in run.inputs.dataset_inputs}
    assert contexts == {"training", "validation", "test"}
    figures = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "figures")}
    assert {"metrics.png", "froc.png", "precision_recall.png"} <= figures
    explained = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "explanation")}
    assert explained == {"shifted.json", "translation.png"}


def test_given_again_nothing_is_done_again(place, outcome):
    again = train_version(Experiment(path=place.experiment).load(), place.settings)
    assert (again.spec, again.reused) == ("fields/1", True)
    summary = detect_archive(outcome.champions[0], place.archive, outcome.results[0], place.settings)
    assert (summary.detected_now, summary.done_before) == (0, FIELDS)


def test_scans_of_patients_that_shaped_a_version_are_left_out_and_counted(place, outcome):
    own = evaluate_version("fields/1", None, place.settings)
    evaluation = evaluate_version("fields/1", place.archive, place.settings)
    assert evaluation.counts["cases"] == own.counts["cases"]
    assert evaluation.counts["left_out_as_trained_on"] == FIELDS - own.counts["cases"]
    assert {name: str(f) for name, f in evaluation.metrics.items()} == {name: str(f) for name, f in own.metrics.items()}


def test_champion_predicts_in_a_fresh_process_that_knows_only_the_store(place, outcome, tmp_path):
    paths = sorted(str(path) for path in (place.archive / "images").glob(f"{SECRET}_[01].png"))
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment["MLFLOW_TRACKING_URI"] = place.settings.tracking_uri
    command = [sys.executable, "-c", _PREDICT, *paths]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    rows = json.loads(answer.stdout)
    assert {row["path"] for row in rows} == set(paths)
    assert {row["label"] for row in rows} == {"object"}


@pytest.mark.parametrize("experiments", [[], [{"path": "a.yaml", "epochs": 3}], "a.yaml"])
def test_parameters_are_checked_before_anything_runs(experiments):
    with pytest.raises(ParameterTypeError):
        scan_to_report.validate_parameters({"experiments": experiments})


def test_results_among_the_scans_are_refused_before_anything_runs(place):
    with pytest.raises(ConfigError, match="lies in the folder of the scans"):
        scan_to_report.fn([Experiment(path=place.experiment)], out=place.archive / "results")


def test_version_without_number_or_alias_is_refused(server):
    with pytest.raises(ParameterTypeError, match="pattern"):
        compare("fields", "fields/2")
