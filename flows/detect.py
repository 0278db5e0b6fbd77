"""One version on an archive of scans, by as many workers as there are."""

from pathlib import Path

from prefect import flow
from prefect.futures import PrefectFuture

from flows.artifacts import show_detections, showing_progress
from flows.parameters import Archive, Version
from flows.retry import stage, tracked_stage
from flows.runners import task_runner, wait_for_all
from flows.surroundings import progress
from pipeline.inference.archive import DetectionRun
from pipeline.settings import Settings
from pipeline.stages.detect import Prepared


@tracked_stage("prepare detection")
def _prepare(version: Version, archive: Archive) -> Prepared:
    from pipeline.stages.detect import prepare_detection

    return prepare_detection(version, archive, Settings.from_environment(), progress())


@stage("detect here")
def _detect_here(prepared: Prepared) -> None:
    from pipeline.stages.detect import detect_here

    with showing_progress(prepared.record.spec, progress()) as shown:
        detect_here(prepared, Settings.from_environment(), shown)


@tracked_stage("detect as one worker")
def _detect_as_worker(spec: Version, run: DetectionRun, number: int) -> None:
    from pipeline.stages.detect_worker import detect_as_worker

    detect_as_worker(spec, run, Settings.from_environment(), number)


@tracked_stage("finish detection")
def _finish(prepared: Prepared, out: Path) -> Path:
    from pipeline.stages.detect import finish_detection

    show_detections(finish_detection(prepared, out, Settings.from_environment(), progress()))
    return out


def hand_out(prepared: Prepared) -> None:
    """Have the scans done by the workers of ``CELLSCAN_RUNNER``, each of which takes one after the other.

    Raises:
        ConfigError: the package for this kind of cluster is not installed.
    """
    from pipeline.inference.following import Following

    settings = Settings.from_environment()
    spec, run, runner = prepared.record.spec, prepared.run, settings.runner

    @flow(name="detect: workers", task_runner=task_runner(runner))
    def workers() -> None:
        with showing_progress(spec, progress()) as shown, Following(run, settings, shown) as following:
            shares: list[PrefectFuture[None]] = [
                _detect_as_worker.submit(spec, run, number) for number in range(runner.workers)
            ]
            wait_for_all(shares, following)

    workers()


@flow(name="detect")
def detect(version: Version, archive: Archive, out: Path) -> Path:
    """Detect on every scan that this version has not done yet, and write tables, GeoJSON and overlays.

    Returns:
        The folder with the results.
    """
    prepared = _prepare(version, archive)
    if Settings.from_environment().runner.kind == "processes":
        _detect_here(prepared)
    else:
        hand_out(prepared)
    return _finish(prepared, out)
