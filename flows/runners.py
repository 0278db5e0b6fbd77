"""Prefect's task runner of ``CELLSCAN_RUNNER``, and its workers on one run of detection."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from prefect.exceptions import CancelledRun
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from pipeline.errors import ConfigError, RunnerError
from pipeline.settings import Runner

if TYPE_CHECKING:
    from pipeline.inference.following import Following

_LOOK_SECONDS = 2.0
# Packages between us and the workers; httpx is what Prefect asks its server with.
_UNREACHED = "Failed to reach API"  # a plain RuntimeError of Prefect 3.8's
_BETWEEN = {"prefect", "prefect_dask", "prefect_ray", "dask", "distributed", "ray", "httpx", "httpcore"}


def task_runner(runner: Runner) -> TaskRunner[Any]:
    """Where tasks run: in threads here, or in a cluster.

    Raises:
        ConfigError: the package for this kind of cluster is not installed.
    """
    try:
        if runner.kind == "dask":
            return _dask(runner)
        if runner.kind == "ray":
            return _ray(runner)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"CELLSCAN_RUNNER={runner.kind}:… needs the package {error.name}: pip install 'cellscan[{runner.kind}]' "
            f"(or prefect-{runner.kind}), here and on the workers"
        ) from error
    return ThreadPoolTaskRunner(max_workers=runner.workers)


@contextmanager
def telling_of_the_runner(runner: Runner) -> Iterator[None]:
    """Raises:
    RunnerError: what a cluster, or Prefect, raised of its own; it may pass. What workers raised is left as it is, as
        is an OSError where nothing could be reached; and a run that somebody cancelled is cancelled.
    """
    try:
        yield
    except CancelledRun:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _BETWEEN and _UNREACHED not in str(error):
            raise
        at = f" at {runner.address}" if runner.address else ""
        raise RunnerError(
            f"CELLSCAN_RUNNER={runner.kind}{at} did not do the work ({type(error).__name__}: {error}). What is done is "
            "kept: see that it runs, and start again"
        ) from error


def wait_for_all(futures: Sequence[PrefectFuture[None]], following: "Following") -> None:
    """Wait, telling how far the run is.

    Raises:
        Exception: that of the first worker, where every one of them failed; what one leaves undone, others do.
    """
    ended: SimpleQueue[PrefectFuture[None]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    waiting, failed = len(futures), []
    while waiting:
        try:
            future = ended.get(timeout=_LOOK_SECONDS)
        except Empty:
            if following.is_due():
                following.tell()
            continue
        waiting -= 1
        try:
            future.result()
        except Exception as error:  # whatever it was
            failed.append(error)
    following.tell()
    if len(failed) == len(futures):
        raise failed[0]


def _dask(runner: Runner) -> TaskRunner[Any]:
    from prefect_dask import DaskTaskRunner

    if runner.address is not None:
        return DaskTaskRunner(address=runner.address)
    return DaskTaskRunner(
        cluster_kwargs={"n_workers": runner.workers, "threads_per_worker": 1, "dashboard_address": None}
    )


def _ray(runner: Runner) -> TaskRunner[Any]:
    from prefect_ray import RayTaskRunner

    quiet = {"logging_level": "ERROR"}  # it tells of its own start and of its access token
    if runner.address is not None:
        return RayTaskRunner(address=runner.address, init_kwargs=quiet)
    return RayTaskRunner(init_kwargs={"num_cpus": runner.workers, "include_dashboard": False, **quiet})
