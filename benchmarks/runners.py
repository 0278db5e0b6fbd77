"""The same archive by processes, threads, Dask and Ray: does each give the same table, and at what cost of its own?

`python benchmarks/runners.py [--scans 200] [--workers 2] [--archive FOLDER]`

Each is the command as a user gives it, `cellscan detect starter/nuclei-2d`, with a home of its own and another
`CELLSCAN_RUNNER`; clusters are started on this machine. Seconds are of the whole command: on a small archive they are
mostly those of starting.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_MODEL = "starter/nuclei-2d"
_EDGE = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--archive", type=Path, help="by default, fields of generated nuclei")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellscan-bench-") as name:
        folder = Path(name)
        archive = options.archive or generated(folder / "archive", options.scans)
        runners = ["processes:1", *(f"{kind}:{options.workers}" for kind in ("processes", "threads", "dask", "ray"))]
        digests = {runner: detected(runner, archive, folder / runner.replace(":", "-")) for runner in runners}
    same = len(set(digests.values())) == 1
    print("all tables are the same, byte for byte" if same else f"tables DIFFER: {digests}")
    return 0 if same else 1


def detected(runner: str, archive: Path, home: Path) -> str:
    """SHA-256 of the table; prints what it took."""
    environment = os.environ | {"CELLSCAN_HOME": str(home), "CELLSCAN_RUNNER": runner, "OMP_NUM_THREADS": "2"}
    environment.pop("CELLSCAN_CATALOG_URL", None)
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "detect", _MODEL, str(archive), "--out", str(home / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{runner}: {done.stderr[-2000:]}")
    table = (home / "out" / "detections.csv").read_bytes()
    seconds, rows = time.perf_counter() - began, table.count(b"\n") - 1
    print(f"{runner:12} {rows:6} detections in {seconds:5.1f} s")
    return hashlib.sha256(table).hexdigest()


def generated(folder: Path, scans: int) -> Path:
    """Fields of bright discs on a dark ground."""
    from PIL import Image

    folder.mkdir()
    rows, columns = np.mgrid[:_EDGE, :_EDGE]
    for number in range(scans):
        random = np.random.default_rng(number)
        field = random.normal(20, 4, (_EDGE, _EDGE))
        for _ in range(random.integers(10, 60)):
            row, column = random.uniform(0, _EDGE, 2)
            field[(rows - row) ** 2 + (columns - column) ** 2 < random.uniform(5, 10) ** 2] = random.uniform(90, 200)
        Image.fromarray(field.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


if __name__ == "__main__":
    sys.exit(main())
