"""One command in this process, with what it leaves behind undone."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.cli.quiet import TALKATIVE


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """Environment and log levels as they were."""
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    yield
    os.environ.clear()
    os.environ.update(environment)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def cellscan(undisturbed, tmp_path, monkeypatch, capfd) -> Callable[..., Outcome]:
    """``cellscan("ingest", path)`` in a home folder of its own."""
    monkeypatch.setenv("CELLSCAN_HOME", str(tmp_path / "home"))
    for name in ("CELLSCAN_CATALOG_URL", "CELLSCAN_DEVICE", "CELLSCAN_DATA", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        written = capfd.readouterr()
        return Outcome(int(end.value.code or 0), written.out, written.err)

    return run
