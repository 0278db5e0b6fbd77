"""A run whose process is gone is not running.

A run carries the name of the process that works on it. SIGKILL leaves the run RUNNING in MLflow for ever; whoever
opens the store next on the same machine ends it. Runs of other machines are left alone, and of other containers, whose
processes cannot be seen from here.
"""

from mlflow import MlflowClient
from mlflow.entities import RunStatus

from pipeline.process import host, is_alive, machine, this_process
from pipeline.tracking.asking import everything

HOST_TAG = "cellscan.host"
MACHINE_TAG = "cellscan.machine"
PROCESS_TAG = "cellscan.process"
_PAGE = 1000


def owner_tags() -> dict[str, str]:
    """The tags that say which process works on a run."""
    return {HOST_TAG: host(), MACHINE_TAG: machine(), PROCESS_TAG: this_process()}


def end_dead_runs(client: MlflowClient) -> tuple[str, ...]:
    """Set RUNNING runs of dead processes of this machine to KILLED; returns their ids."""
    known = everything(lambda token: client.search_experiments(max_results=_PAGE, page_token=token))
    experiments = [experiment.experiment_id for experiment in known]
    wanted = f"attributes.status = 'RUNNING' and tags.`{MACHINE_TAG}` = '{machine()}'"
    running = everything(lambda token: client.search_runs(experiments, wanted, max_results=_PAGE, page_token=token))
    dead = [run.info.run_id for run in running if not is_alive(run.data.tags.get(PROCESS_TAG, ""))]
    for run_id in dead:
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.KILLED))
    return tuple(dead)
