import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.sorting import FlowRunSort

from flows.deployments import FOLDER, Deployment, read_deployments, to_runner
from pipeline.errors import ConfigError

_CHECKOUT = Path(__file__).parents[2]


def _for_prefect():
    return yaml.safe_load((_CHECKOUT / FOLDER / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", read_deployments(_CHECKOUT / FOLDER), ids=lambda one: one.name)
def test_shipped_deployment_is_taken_by_its_flow(deployment):
    runner = to_runner(deployment)
    assert runner.entrypoint == f"flows.{deployment.flow}.{deployment.flow}"
    assert runner.schedules[0].schedule.cron == deployment.cron


def test_both_descriptions_of_the_deployments_agree():
    ours = {
        one.name: (
            one.flow,
            one.description,
            one.cron,
            one.timezone,
            one.parameters,
            [trigger.model_dump() for trigger in one.triggers],
        )
        for one in read_deployments(_CHECKOUT / FOLDER)
    }
    theirs = {
        one["name"]: (
            one["entrypoint"].partition(":")[2],
            one["description"],
            one["schedules"][0]["cron"],
            one["schedules"][0]["timezone"],
            one["parameters"],
            one.get("triggers", []),
        )
        for one in _for_prefect()
    }
    assert ours == theirs


def test_parameters_that_the_flow_does_not_take_are_refused():
    deployment = Deployment(name="wrong", flow="detect", description="", cron="0 1 * * *", parameters={"scans": "a"})
    with pytest.raises(ConfigError, match="deployment wrong: flow detect does not take this"):
        to_runner(deployment)


@pytest.mark.parametrize(
    ("text", "message"), [("name: a\nflow: b\n", "does not describe a deployment"), (None, "no deployment in")]
)
def test_folder_that_describes_nothing_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_deployments(tmp_path)


def test_prefect_deploy_takes_the_shipped_file_and_schedules_give_runs(place, server):
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="cellscan", type="process"))
    file = str(FOLDER / "prefect.yaml")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file]
    environment = {**os.environ, "PREFECT_API_URL": server, "CELLSCAN_CHECKOUT": str(_CHECKOUT)}
    environment["PREFECT_HOME"] = str(place.settings.home / "prefect")
    answer = subprocess.run(command, cwd=_CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    with get_client(sync_client=True) as client:
        deployed = {one.name: one for one in client.read_deployments()}
        detection = deployed["hourly-detection"].id
        client._client.post(f"/deployments/{detection}/schedule", json={})
        planned = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200)
        (automation,) = client._client.post("/automations/filter", json={}).json()
    assert {name: one.schedules[0].schedule.cron for name, one in deployed.items()} == {
        one["name"]: one["schedules"][0]["cron"] for one in _for_prefect()
    }
    assert {run.expected_start_time.minute for run in planned if run.deployment_id == detection} == {30}
    assert automation["trigger"]["expect"] == ["cellscan.champion.changed"]
    assert automation["actions"][0]["deployment_id"] == str(detection)
