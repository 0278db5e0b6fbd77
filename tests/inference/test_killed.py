"""Workers that are killed with SIGKILL at each step of one volume; benchmarks/killed_detection.py kills at random."""

import signal
import subprocess
import sys

import pytest

from pipeline.inference.claims import claims
from pipeline.inference.ledger import Ledger
from tests.sources.catalog.databases import empty_database

VOLUMES = ["a", "b", "c"]

# Does the first volume, and is killed while it has the second.
PROGRAM = """
import os
import signal
import sys
from pathlib import Path

from sqlalchemy.engine import Connection

from pipeline.inference.claims import claims
from pipeline.inference.ledger import Ledger

url, results, when = sys.argv[1:]


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(what):
    def changed(*given):
        what(*given)
        kill()
    return changed


with Ledger(url, "m/1", "", Path(results)) as ledger:
    for n, claim in enumerate(claims(ledger, ["a", "b", "c"], ledger.time())):
        if n == 1 and when == "claimed":
            kill()
        if n == 1 and when == "half of the result written":
            claim.part.write_bytes(b"res")
            kill()
        claim.part.write_bytes(b"result of " + claim.volume_id.encode())
        if n == 1 and when == "result written":
            kill()
        if n == 1 and when == "result in its place":
            Path.replace = kill_after(Path.replace)
        claim.finish(1)
        if n == 1:
            kill()
"""
# What is on disk of the volume then, and what its row says.
MOMENTS = {
    "claimed": ("", "claimed"),
    "half of the result written": ("b.1.part", "claimed"),
    "result written": ("b.1.part", "claimed"),
    "result in its place": ("b.parquet", "claimed"),
    "row written": ("b.parquet", "done"),
}


@pytest.fixture
def url(request, tmp_path):
    with empty_database(request, tmp_path) as address:
        yield address


@pytest.mark.parametrize(
    ("url", "moment"), [*(("sqlite", one) for one in MOMENTS), ("postgresql", "result in its place")], indirect=["url"]
)
def test_killed_at_any_moment_each_volume_has_one_whole_result_in_the_end(url, tmp_path, moment):
    results = tmp_path / "results"
    with Ledger(url, "m/1", "", results) as ledger:
        ledger.enter(VOLUMES)
        victim = subprocess.run([sys.executable, "-c", PROGRAM, url, str(results), moment], check=False)
        assert victim.returncode == -signal.SIGKILL
        on_disk, state = MOMENTS[moment]
        assert {path.name for path in (results / "m-1").iterdir()} == {"a.parquet", on_disk} - {""}
        rows = ledger.rows(VOLUMES)
        assert [row.state for row in rows.values()] == ["done", state, "pending"]
        again = [claim for claim in claims(ledger, VOLUMES, ledger.time(), pytest.fail) if write(claim)]
        assert [claim.volume_id for claim in again] == (["c", "b"] if state == "claimed" else ["c"])
        assert {row.state for row in ledger.rows(VOLUMES).values()} == {"done"}
    files = {path.name: path.read_bytes() for path in (results / "m-1").iterdir()}
    assert files == {f"{one}.parquet": b"result of " + one.encode() for one in VOLUMES}


def write(claim):
    claim.part.write_bytes(b"result of " + claim.volume_id.encode())
    return claim.finish(1)
