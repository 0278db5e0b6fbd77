import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from pipeline.errors import TrackingError
from pipeline.process import host
from pipeline.tracking import reaper
from pipeline.tracking.reaper import HOST_TAG, MACHINE_TAG, PROCESS_TAG, end_dead_runs, owner_tags
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect, prepare

_OPEN = """
import sys
from pathlib import Path
from pipeline.settings import Settings
from pipeline.tracking.session import connect, prepare
home = Path(sys.argv[1])
settings = Settings(home, home, "cpu", "", f"sqlite:///{home / 'mlflow.db'}", None)
prepare(settings)
print(len(connect(settings).search_experiments()))
"""
_RUN = """
import sys, time
from pathlib import Path
from pipeline.settings import Settings
from pipeline.tracking.run import tracked_run
home = Path(sys.argv[1])
settings = Settings(home, home, "cpu", "", f"sqlite:///{home / 'mlflow.db'}", None)
with tracked_run(settings, "cells", "key", {}) as run:
    print(run.run_id, flush=True)
    time.sleep(60)
"""


def _start(script, home):
    command = [sys.executable, "-c", script, str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_open_a_new_store_at_once(tmp_path):
    processes = [_start(_OPEN, tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in answers] == ["1\n"] * 2
    assert [err for _, err in answers] == [""] * 2
    assert not list(tmp_path.glob(".mlflow.db*"))


@pytest.mark.parametrize("uri", ["/some/mlruns", "file:///some/mlruns", "sqlite:///:memory:"])
def test_stores_that_cannot_hold_are_refused(unopened, uri):
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        prepare(replace(unopened, tracking_uri=uri))


def test_silent_server_is_named(unopened):
    with pytest.raises(TrackingError, match=r"no MLflow server answers at http://127\.0\.0\.1:9"):
        prepare(replace(unopened, tracking_uri="http://127.0.0.1:9"))


def test_foreign_database_is_refused_and_left_alone(unopened):
    (unopened.home / "mlflow.db").write_text("these are not tables")
    with pytest.raises(TrackingError, match="cannot be opened"):
        prepare(unopened)
    assert (unopened.home / "mlflow.db").read_text() == "these are not tables"


def test_killed_run_is_ended_by_the_next_and_continued_by_its_key(settings):
    process = _start(_RUN, settings.home)
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    client = connect(settings)
    assert client.get_run(run_id).info.status == "RUNNING"
    assert end_dead_runs(client) == (run_id,)
    assert client.get_run(run_id).info.status == "KILLED"
    with tracked_run(settings, "cells", "key", {}) as run:
        assert (run.run_id, run.continued) == (run_id, True)
        assert client.get_run(run_id).info.status == "RUNNING"
    assert client.get_run(run_id).info.status == "FINISHED"


def test_sigterm_ends_the_run_and_the_process(settings):
    process = _start(_RUN, settings.home)
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (143, "")
    assert connect(settings).get_run(run_id).info.status == "KILLED"


def test_runs_of_living_processes_of_other_containers_and_of_who_knows_where_go_on(settings):
    client = connect(settings)
    prepare(settings)
    experiment = client.create_experiment("cells")
    mine = client.create_run(experiment, tags=owner_tags()).info.run_id
    container = owner_tags() | {MACHINE_TAG: f"{host()},another boot,pid:[1]", PROCESS_TAG: "1:1"}
    elsewhere = client.create_run(experiment, tags=container).info.run_id
    former = client.create_run(experiment, tags={HOST_TAG: host(), PROCESS_TAG: "1:1"}).info.run_id
    assert end_dead_runs(client) == ()
    assert {client.get_run(run_id).info.status for run_id in (mine, elsewhere, former)} == {"RUNNING"}


def test_reused_pid_is_another_process(settings):
    client = connect(settings)
    prepare(settings)
    tags = owner_tags() | {PROCESS_TAG: f"{os.getpid()}:{time.time()}"}
    run_id = client.create_run(client.create_experiment("cells"), tags=tags).info.run_id
    assert end_dead_runs(client) == (run_id,)


def test_dead_runs_on_all_pages_are_ended(settings, monkeypatch):
    monkeypatch.setattr(reaper, "_PAGE", 1)
    client = connect(settings)
    prepare(settings)
    experiment = client.create_experiment("cells")
    tags = owner_tags() | {PROCESS_TAG: "1:never"}
    dead = {client.create_run(experiment, tags=tags).info.run_id for _ in range(3)}
    assert set(end_dead_runs(client)) == dead
