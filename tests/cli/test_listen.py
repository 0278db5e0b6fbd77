import json
import signal

import pytest

from pipeline.sources.ingest import IngestSummary
from pipeline.stages import listen as stage


@pytest.fixture(autouse=True)
def _handlers():
    """Signals are handled as before, afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_with_json_each_study_is_a_line(cellscan, monkeypatch, tmp_path):
    studies = [IngestSummary(tmp_path / name, (), (), 0) for name in "ab"]
    monkeypatch.setattr(stage, "listen", lambda *_: iter(studies))
    told = cellscan("listen", "--json")
    assert [json.loads(line)["root"] for line in told.stdout.splitlines()] == [str(one.root) for one in studies]
