import sys
import types

import pytest
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.task_runners import ThreadPoolTaskRunner

from flows.runners import task_runner, telling_of_the_runner
from pipeline.errors import ConfigError, RunnerError
from pipeline.settings import Runner


@pytest.fixture
def cluster(monkeypatch):
    """Stands for prefect-dask and prefect-ray, which are no part of a plain installation; tells how it was called."""

    class Recorded:
        def __init__(self, **options):
            self.options = options

    for package, name in (("prefect_dask", "DaskTaskRunner"), ("prefect_ray", "RayTaskRunner")):
        module = types.ModuleType(package)
        setattr(module, name, Recorded)
        monkeypatch.setitem(sys.modules, package, module)


def test_threads_are_prefects_own():
    runner = task_runner(Runner("threads", 3))
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert runner._max_workers == 3


def test_a_cluster_is_joined_by_its_address(cluster):
    assert task_runner(Runner("dask", 4, "tcp://host:8786")).options == {"address": "tcp://host:8786"}
    assert task_runner(Runner("ray", 4, "ray://host:10001")).options["address"] == "ray://host:10001"


def test_without_an_address_a_cluster_of_so_many_workers_is_started_here(cluster):
    dask = task_runner(Runner("dask", 4)).options["cluster_kwargs"]
    assert (dask["n_workers"], dask["threads_per_worker"]) == (4, 1)
    assert task_runner(Runner("ray", 4)).options["init_kwargs"]["num_cpus"] == 4


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, f"prefect_{kind}", None)
    with pytest.raises(ConfigError, match=rf"needs the package prefect_{kind}: pip install 'cellscan\[{kind}\]'"):
        task_runner(Runner(kind, 2))


def test_threads_of_a_flow_give_the_table_of_one_process(place, outcome, monkeypatch, tmp_path):
    from flows.detect import detect

    monkeypatch.setenv("CELLSCAN_CATALOG_URL", f"sqlite:///{tmp_path / 'catalog.db'}")  # where nothing is done yet
    monkeypatch.setenv("CELLSCAN_RUNNER", "threads:2")
    detect(outcome.champions[0], str(place.archive), tmp_path / "out")
    name = "detections.csv"
    assert (tmp_path / "out" / name).read_bytes() == (outcome.results[0] / name).read_bytes()


def test_what_a_cluster_raises_of_its_own_may_pass():
    with (
        pytest.raises(RunnerError, match=r"dask at tcp://host:8786 did not do .*CrashedRun: worker lost"),
        telling_of_the_runner(Runner("dask", 2, "tcp://host:8786")),
    ):
        raise CrashedRun("worker lost")


@pytest.mark.parametrize("error", [ConfigError("of ours"), ZeroDivisionError("a mistake"), CancelledRun("by somebody")])
def test_mistakes_and_cancelled_runs_are_told_as_they_are(error):
    with pytest.raises(type(error)) as told, telling_of_the_runner(Runner("ray", 2)):
        raise error
    assert told.value is error
