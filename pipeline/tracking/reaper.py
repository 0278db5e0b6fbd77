"""A run whose process is gone is not running.

A run carries the name of the process that works on it: host, pid and the moment the process began (a pid alone is
given to another process later). SIGKILL leaves the run RUNNING in MLflow for ever; whoever opens the store next on
the same host ends it. Runs of other hosts are left alone.
"""

import os
import platform
import subprocess
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunStatus

HOST_TAG = "cellscan.host"
PROCESS_TAG = "cellscan.process"


def owner_tags() -> dict[str, str]:
    """The tags that say which process works on a run."""
    return {HOST_TAG: platform.node(), PROCESS_TAG: f"{os.getpid()}:{_began(os.getpid())}"}


def end_dead_runs(client: MlflowClient) -> tuple[str, ...]:
    """Set RUNNING runs of dead processes of this host to KILLED; returns their ids."""
    experiments = [experiment.experiment_id for experiment in _all_experiments(client)]
    running = client.search_runs(
        experiments, f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{platform.node()}'", max_results=1000
    )
    dead = [run.info.run_id for run in running if not _is_alive(run.data.tags.get(PROCESS_TAG, ""))]
    for run_id in dead:
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.KILLED))
    return tuple(dead)


def _all_experiments(client: MlflowClient) -> list:
    page = client.search_experiments(max_results=1000)
    experiments = list(page)
    while page.token:
        page = client.search_experiments(max_results=1000, page_token=page.token)
        experiments.extend(page)
    return experiments


def _is_alive(process: str) -> bool:
    pid, _, began = process.partition(":")
    return pid.isdigit() and began != "" and _began(int(pid)) == began


def _began(pid: int) -> str:
    """When process ``pid`` began, as the system tells it; empty if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # Field 22, counted after the command name, which may itself hold spaces and brackets (man 5 proc).
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
