import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Running

from flows import reaper
from flows.reaper import crash_dead_runs, process_tags
from flows.session import _answers, _free_port, _no_proxy_here, _start, _talk_to, _wait, prefect_session
from pipeline.errors import TrackingError
from pipeline.process import host

_KILLED = """
import os, signal
from pipeline.settings import Settings
from flows.session import prefect_session
with prefect_session(Settings.from_environment()):
    from prefect import flow
    @flow(name="killed")
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)
    killed()
"""


def test_run_of_a_killed_process_is_crashed_by_the_next_session(place, server):
    environment = {**os.environ, "PREFECT_API_URL": server, "PREFECT_HOME": str(place.settings.home / "prefect")}
    command = [sys.executable, "-c", _KILLED]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (-signal.SIGKILL, "", "")
    assert crash_dead_runs() == 1
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200)
        (state,) = [run.state for run in runs if client.read_flow(run.flow_id).name == "killed"]
    assert (state.name, "started again" in state.message) == ("Crashed", True)
    assert crash_dead_runs() == 0


def test_run_of_another_container_is_not_taken_for_dead(server, monkeypatch):
    @flow(name="theirs")
    def theirs():
        pass

    with get_client(sync_client=True) as client:
        with monkeypatch.context() as patch:
            patch.setattr(reaper, "machine", lambda: f"{host()},another boot,pid:[1]")
            patch.setattr(reaper, "this_process", lambda: "1:never")
            run = client.create_flow_run(theirs, tags=process_tags(), state=Running())
        assert crash_dead_runs() == 0
        assert client.read_flow_run(run.id).state.is_running()


def test_bookkeeping_that_fails_keeps_nobody_from_work(server, monkeypatch):
    def fail():
        raise RuntimeError("Failed to reach API")

    monkeypatch.setattr(reaper, "crash_dead_runs", fail)
    worked = False
    with _talk_to(server, quiet=True):
        worked = True
    assert worked


def test_server_ends_when_its_parent_is_gone(place, server):
    port, log = _free_port(), place.settings.home / "prefect" / "second.log"
    second = _start(port, log, schedules=False)
    _wait(second, f"http://127.0.0.1:{port}/api", log, None)
    second.stdin.close()  # as the kernel does for a process that is killed
    assert second.wait(timeout=60) is not None


def test_server_of_this_machine_is_not_asked_through_a_proxy(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert _answers(server)
    with get_client(sync_client=True) as client:
        assert client.api_healthcheck() is None


@pytest.mark.parametrize(
    ("before", "then"), [("pacs", "pacs,127.0.0.1,localhost"), ("", "127.0.0.1,localhost"), ("*", "*")]
)
def test_what_else_goes_around_the_proxy_still_does(monkeypatch, before, then):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", before)
    assert _no_proxy_here() == {"no_proxy": then, "NO_PROXY": then}


def test_silent_server_of_the_user_is_named(place):
    settings = replace(place.settings, prefect_api_url="http://127.0.0.1:9/api")
    with pytest.raises(TrackingError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"):
        prefect_session(settings).__enter__()
