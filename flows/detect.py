"""One version on an archive of scans, by as many workers as there are."""

from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.futures import PrefectFuture

from flows.artifacts import show_detections, showing_progress
from flows.parameters import Archive, Version
from flows.retry import tracked_stage
from flows.runners import task_runner, telling_of_the_runner, wait_for_all
from flows.surroundings import progress
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.inference.archive import DetectionRun
    from pipeline.stages.detect import Prepared


@tracked_stage("detect")
def _detect(version: Version, archive: Archive, out: Path) -> Path:
    from pipeline.stages.detect import detect_archive

    with showing_progress(version, progress()) as shown:
        show_detections(detect_archive(version, archive, out, Settings.from_environment(), shown))
    return out


@tracked_stage("detect as one worker")
def _detect_as_worker(spec: Version, run: "DetectionRun", number: int) -> None:
    from pipeline.stages.detect_worker import detect_as_worker

    detect_as_worker(spec, run, Settings.from_environment(), number)


def hand_out(prepared: "Prepared") -> None:
    """Have the scans done by the workers of ``CELLSCAN_RUNNER``, each of which takes one after the other.

    Raises:
        ConfigError: the package for this kind of cluster is not installed.
        RunnerError: the cluster, or Prefect's server, failed.
    """
    from pipeline.inference.following import Following

    settings = Settings.from_environment()
    spec, run, runner = prepared.record.spec, prepared.run, settings.runner

    # Without parameters, which Prefect would store.
    @flow(name="detect: workers", task_runner=task_runner(runner))
    def workers() -> None:
        with showing_progress(spec, progress()) as shown, Following(run, settings, shown) as following:
            shares: list[PrefectFuture[None]] = [
                _detect_as_worker.submit(spec, run, number) for number in range(runner.workers)
            ]
            wait_for_all(shares, following)

    with telling_of_the_runner(runner):
        workers()


@flow(name="detect")
def detect(version: Version, archive: Archive, out: Path) -> Path:
    """Detect on every scan that this version has not done yet, and write tables, GeoJSON and overlays.

    The workers are those of ``CELLSCAN_RUNNER``: processes of this machine, threads, or a Dask or Ray cluster.

    Returns:
        The folder with the results.
    """
    from pipeline.stages.detect import detect_archive

    settings = Settings.from_environment()
    if settings.runner.kind == "processes":
        return _detect(version, archive, out)
    show_detections(detect_archive(version, archive, out, settings, progress(), hand_out=hand_out))
    return out
