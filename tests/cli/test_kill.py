"""`cellscan train` and `cellscan detect`, killed with SIGKILL in the middle and given again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
import yaml
from PIL import Image

from tests.experiments import tiny_2d
from tests.phantoms import field_of_cells
from tests.stores import copy_store

FIELDS = 9
EPOCHS = 30  # as many as leave time for two signals
SCANS = 40  # enough that detection is still at work when the kill arrives


@pytest.fixture(scope="module")
def place(tmp_path_factory, empty_store):
    """Annotated fields, an experiment on them, and the environment of a home in which nothing was done."""
    root = tmp_path_factory.mktemp("kill")
    copy_store(empty_store, root / "home")
    for kind in ("images", "labels"):
        (root / "fields" / kind).mkdir(parents=True)
    for seed in range(FIELDS):
        field = field_of_cells(root, seed)
        labels = np.zeros(field.grid.shape, dtype=np.uint16)
        for n, (low, up) in enumerate(zip(field.annotations.boxes.lower, field.annotations.boxes.upper, strict=True)):
            region = tuple(slice(max(round(a + 0.5), 0), round(b + 0.5)) for a, b in zip(low, up, strict=True))
            labels[region] = n + 1
        Image.fromarray(np.asarray(field.array)[0].T).save(root / "fields" / "images" / f"f{seed}.png")
        Image.fromarray(labels.T).save(root / "fields" / "labels" / f"f{seed}.png")
    (root / "scans").mkdir()
    for seed in range(SCANS):
        scan = field_of_cells(root, 100 + seed, cells=20, size=192)
        Image.fromarray(np.asarray(scan.array)[0].T).save(root / "scans" / f"s{seed}.png")
    raw = tiny_2d().model_dump(mode="json")
    raw["data"] |= {"source": "fields", "classes": ["object"]}
    raw["training"] |= {"max_epochs": EPOCHS}
    (root / "tiny.yaml").write_text(yaml.safe_dump(raw))
    unset = ("CELLSCAN_CATALOG_URL", "MLFLOW_TRACKING_URI", "PREFECT_API_URL")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    home = {"CELLSCAN_HOME": str(root / "home"), "CELLSCAN_DATA": str(root), "CELLSCAN_DEVICE": "cpu"}
    return root, {**environment, **home, "OMP_NUM_THREADS": "1"}


def command(place, *words: str) -> subprocess.Popen:
    root, environment = place
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_heed_interrupts,
    )  # fmt: skip


def _heed_interrupts() -> None:
    """A shell starts what runs in its background, such as these tests, deaf to SIGINT; children would stay so."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def signal_when(sent: signal.Signals, process: subprocess.Popen, reached) -> str:
    """Send a signal as soon as ``reached``; what the process wrote on stderr."""
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, f"ended before it could be killed: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(sent)
    return process.communicate()[1]


def given_again(place, *words: str) -> dict:
    process = command(place, *words, "--json")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert err == ""
    return json.loads(out)


def histories(root: Path) -> list[dict]:
    found = list((root / "home" / "runs").glob("*/history.json"))
    return json.loads(found[0].read_text()) if found else []


def test_stopped_and_killed_training_continues_and_killed_detection_does_each_scan_once(place):
    root, _ = place
    process = command(place, "train", "tiny.yaml")
    told = signal_when(signal.SIGINT, process, lambda: len(histories(root)) >= 1)
    assert process.returncode == 130
    assert told.endswith("stopped; the same command continues from here\n")
    assert "Traceback" not in told
    signal_when(signal.SIGKILL, command(place, "train", "tiny.yaml"), lambda: len(histories(root)) >= 4)
    before = histories(root)
    trained = given_again(place, "train", "tiny.yaml")
    after = histories(root)
    assert [row["epoch"] for row in after] == list(range(1, EPOCHS + 1))
    assert after[: len(before) - 1] == before[:-1]  # those epochs were not done again
    assert (trained["version"], trained["reused"]) == ("1", False)
    assert runs_by_status(root) == {"FINISHED": 1}

    results = root / "home" / "detections"
    signal_when(
        signal.SIGKILL,
        command(place, "detect", "tiny_2d/1", "scans", "--out", "out"),
        lambda: len(list(results.glob("*/*.parquet"))) >= 3,
    )
    made = {path: path.stat().st_mtime_ns for path in results.glob("*/*.parquet")}
    assert 3 <= len(made) < SCANS, "the kill came too late to show anything"
    counts = given_again(place, "detect", "tiny_2d/1", "scans", "--out", "out")["counts"]
    assert counts["detected_now"] + counts["done_before"] == SCANS
    assert counts["done_before"] >= len(made) - 1  # one result may lie there whose row was still open
    assert sum(path.stat().st_mtime_ns == stamp for path, stamp in made.items()) >= len(made) - 1
    assert len(list(results.glob("*/*.parquet"))) == SCANS
    table = pd.read_parquet(root / "out" / "detections.parquet")
    assert not table.duplicated().any()


def runs_by_status(root: Path) -> dict[str, int]:
    engine = sqlalchemy.create_engine(f"sqlite:///{root / 'home' / 'mlflow.db'}")
    with engine.connect() as connection:
        # The run that keeps the history of champions is no training.
        rows = connection.exec_driver_sql(
            "SELECT status, COUNT(*) FROM runs WHERE name NOT LIKE 'champions of %' GROUP BY status"
        ).all()
    engine.dispose()
    return dict(tuple(row) for row in rows)
