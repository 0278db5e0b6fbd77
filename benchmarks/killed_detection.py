"""Is any scan lost, or done differently, when workers are killed? Runs of a detection, each killed at a random instant.

`python benchmarks/killed_detection.py [--runs 100] [--workers 1 3] [--scans 24] [--seed 0]`

Scans are generated; the network has random weights, which is as good for this. Of each run either one worker is
killed with SIGKILL, and the others go on, or all are, and as many are started again. In the end each scan must have
one result, the very bytes of a run that nobody disturbed, and nothing else may lie beside them. What each killed
worker was at is read from the ledger and the disk.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")  # so that windows are seen in two lanes

_MODEL = "cells/1-01234567"
_CONFIG = {
    "name": "cells",
    "data": {"source": "cells", "dims": 2, "classes": ["cell"]},
    "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 255}},
    "sampling": {"patch": [32, 32], "samples_per_epoch": 4},
    "detector": {"backbone": {"kind": "residual_unet", "widths": [4, 8], "strides": [2]}, "decoder_width": 4},
    "training": {"max_epochs": 1},
    "inference": {"window": [48, 48], "score_floor": 0.01},
    "evaluation": {"match": {"kind": "centre_distance", "distance": 6}},
}
_MOMENTS = (
    "before its first claim",
    "reading or detecting",
    "writing the result",
    "result in its place, row not yet done",
    "between two scans, or after the last",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Workers are forked from a process that has imported everything: kills fall into work, not into imports.
    multiprocessing.set_start_method("forkserver")
    multiprocessing.set_forkserver_preload(["pipeline.inference.archive", "pandas", "pyarrow.parquet"])
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cellscan-bench-") as name:
        folder = Path(name)
        archive = make(folder, options.scans, options.seed)
        began = time.perf_counter()
        undisturbed, _ = run(folder / "undisturbed", archive, 1, None)
        print(f"{options.scans} scans, undisturbed in {time.perf_counter() - began:.1f} s, starting included")
        for workers in options.workers:
            failed += killed(folder, archive, workers, undisturbed, options)
    return 1 if failed else 0


def killed(folder: Path, archive, workers: int, undisturbed: dict[str, bytes], options: argparse.Namespace) -> int:
    """Runs with so many workers; how many of them did not end as the undisturbed one."""
    draw = random.Random(f"{options.seed} {workers}")
    began = time.perf_counter()
    same, _ = run(folder / f"{workers} undisturbed", archive, workers, None)
    whole = time.perf_counter() - began
    moments: Counter[str] = Counter()
    wrong = int(same != undisturbed)
    kills = 0
    for number in range(options.runs):
        victims = workers if draw.random() < 0.5 else 1
        plan = (draw.uniform(0, whole), victims)
        results, found = run(folder / f"{workers} {number}", archive, workers, plan)
        moments.update(found)
        kills += len(found)
        if results != undisturbed:
            wrong += 1
            print(f"  run {number}: {sorted(set(undisturbed) ^ set(results))} differ, or what they hold does")
    verdict = "all equal to the undisturbed run" if not wrong else f"{wrong} NOT equal to the undisturbed run"
    print(f"{workers} worker(s): {options.runs} runs, {kills} workers killed within {whole:.1f} s each; {verdict}")
    for moment in _MOMENTS:
        print(f"  {moments[moment]:4} {moment}")
    return wrong


def run(home: Path, archive, workers: int, plan: tuple[float, int] | None) -> tuple[dict[str, bytes], list[str]]:
    """One run: the bytes of everything in the folder of results, and at what the killed workers were."""
    from pipeline.inference.archive import begin_run, end_run
    from pipeline.settings import Settings

    bundle, volumes, config = archive
    settings = replace(Settings.from_environment(), home=home, device="cpu", catalog_url=f"sqlite:///{home / 'l.db'}")
    home.mkdir()

    def start(count: int):
        detection = begin_run(_MODEL, config, tuple(volumes), settings)
        some = [
            multiprocessing.Process(target=worker, args=(bundle, detection, volumes, settings)) for _ in range(count)
        ]
        for one in some:
            one.start()
        return detection, some

    detection, some = start(workers)
    moments: list[str] = []
    if plan is not None:
        time.sleep(plan[0])
        moments = [moment for one in some[: plan[1]] if (moment := kill(one, settings))]
    for one in some:
        one.join()
    if plan is not None and plan[1] == workers:
        detection, some = start(workers)
        for one in some:
            one.join()
    rows = end_run(detection, settings)
    assert not rows.quarantined, rows.quarantined
    assert not rows.unfinished, rows.unfinished
    (folder,) = settings.detections.iterdir()
    return {path.name: path.read_bytes() for path in folder.iterdir()}, moments


def kill(victim: multiprocessing.Process, settings) -> str:
    """Kill a worker; what it was at, or nothing if it had ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    return moment_of(victim.pid, settings) if victim.exitcode == -signal.SIGKILL else ""


def moment_of(pid: int, settings) -> str:
    import sqlalchemy as sql

    from pipeline.inference.ledger_tables import rows as t
    from pipeline.sources.catalog.engine import open_engine, reading

    engine = open_engine(settings.catalog_url)
    with reading(engine) as connection:
        claimed = connection.execute(sql.select(t).where(t.c.owner.contains(f"|{pid}:"))).first()
        done = connection.execute(sql.select(sql.func.count()).where(t.c.state == "done")).scalar_one()
    engine.dispose()
    if claimed is None:
        return _MOMENTS[4] if done else _MOMENTS[0]
    (folder,) = settings.detections.iterdir()
    if (folder / f"{claimed.volume_id}.parquet").exists():
        return _MOMENTS[3]
    return _MOMENTS[2] if (folder / f"{claimed.volume_id}.{claimed.attempts}.part").exists() else _MOMENTS[1]


def worker(bundle: Path, detection, volumes, settings) -> None:
    import torch

    from pipeline.detectors.bundle import Bundle
    from pipeline.inference.archive import work
    from pipeline.inference.detect import VolumeDetector

    torch.set_num_threads(1)
    work(VolumeDetector(Bundle.load(bundle), "cpu"), detection, volumes.__getitem__, settings)


def make(folder: Path, scans: int, seed: int):
    """A bundle's folder, volumes by id, and the digest of the experiment."""
    import numpy as np

    from pipeline.config import ExperimentConfig
    from pipeline.detectors.bundle import Bundle, seeded_network
    from pipeline.geometry import Grid
    from pipeline.volumes.store import VolumeStore

    config = ExperimentConfig.model_validate(_CONFIG)
    Bundle(config, seeded_network(config), 0.5).save(folder / "bundle")
    store, rng = VolumeStore(folder / "volumes"), np.random.default_rng(seed)
    made = [
        store.put(
            image=rng.integers(0, 255, (1, 96, 96), dtype=np.uint8),
            grid=Grid.of_pixels((96, 96)),
            patient_key=f"p{number}",
            modality="SM",
            attributes={},
        )
        for number in range(scans)
    ]
    return folder / "bundle", {volume.volume_id: volume for volume in made}, config.digest()


if __name__ == "__main__":
    sys.exit(main())
