"""`cellscan watch` as a user meets it; its rounds are tested with `pipeline.stages.watch`."""

import json
import os
import signal

import numpy as np
import pytest

from pipeline.cli.numbers import parse_seconds
from pipeline.errors import ConfigError
from pipeline.stages import watch as stage
from pipeline.stages.watch import Failure
from pipeline.stages.watch_round import Round
from tests.sources.written import write_png


@pytest.fixture
def handlers():
    """Signals are handled as before, afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def stopped_by(monkeypatch, tmp_path, handlers):
    """``stopped_by(number)``: a watch that tells of a round and a failure, and is then sent this signal."""

    def send(number):
        def rounds(*_, **__):
            scan = {"volume_id": "1a2b", "name": "CT 1a2b 4x4x4", "path": "a.dcm", "detections": 3}
            yield Round("cells/8", "cells/7", tmp_path / "out", (scan,), quarantined={"b.png": "cut"}, by_others=5)
            yield Failure("the server is away", "SourceError", 60)
            os.kill(os.getpid(), number)
            raise AssertionError("the signal did not arrive")

        monkeypatch.setattr(stage, "watch", rounds)

    return send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_it_well(cellscan, stopped_by, tmp_path, number):
    stopped_by(number)
    told = cellscan("watch", "cells@champion", tmp_path, "--out", tmp_path / "out", "--every", "5m")
    assert told.code == 0
    head, quarantined = told.stdout.splitlines()
    assert head[20:] == (
        "cells/8: 1 scan, 3 detections; now it is cells/8, it was cells/7; 5 scans left as another version did them: "
        f"{tmp_path / 'out'}"
    )
    assert quarantined == "  quarantined: b.png: cut"
    first, failure, last = told.stderr.splitlines()
    assert first == f"watching {tmp_path} with cells@champion, every 5m; Ctrl-C ends it"
    assert failure[20:] == "tried again in 60 s, and then later and later: the server is away"
    assert last == "stopped; the same command goes on from here"


def test_with_json_each_line_is_an_object(cellscan, stopped_by, tmp_path):
    stopped_by(signal.SIGTERM)
    told = cellscan("watch", "cells@champion", tmp_path, "--out", tmp_path / "out", "--json")
    done, failed = [json.loads(line) for line in told.stdout.splitlines()]
    assert (done["model"], done["was"], done["detections"], done["scans"][0]["path"]) == (
        "cells/8",
        "cells/7",
        3,
        "a.dcm",
    )
    assert failed == {"error": "the server is away", "kind": "SourceError", "seconds": 60}


def test_once_that_is_stopped_says_so_by_its_exit_code(cellscan, stopped_by, tmp_path):
    stopped_by(signal.SIGTERM)
    assert cellscan("watch", "cells@champion", tmp_path, "--out", tmp_path / "out", "--once").code == 130


def test_starter_on_a_folder_once_and_again(cellscan, handlers, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 70), dtype=np.uint8)
    write_png(tmp_path / "scans" / "a.png", pixels)
    command = ("watch", "starter/nuclei-2d", tmp_path / "scans", "--out", tmp_path / "out", "--once", "--settle", "0s")
    told = cellscan(*command, "--json")
    (done,) = [json.loads(line) for line in told.stdout.splitlines()]
    assert (told.code, done["model"], len(done["scans"])) == (0, "starter/nuclei-2d", 1)
    assert (tmp_path / "out" / "starter-nuclei-2d" / "detections.csv").is_file()
    again = cellscan(*command)
    assert (again.code, again.stdout) == (0, "")


def test_look_without_a_pause_is_refused(cellscan, handlers, tmp_path):
    told = cellscan("watch", "cells@champion", tmp_path, "--out", tmp_path / "out", "--every", "0s")
    assert (told.code, told.stderr.splitlines()[-1]) == (1, "error: --every takes a time above 0, got 0s")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("0", 0)])
def test_times_are_read_with_their_unit(text, seconds):
    assert parse_seconds("--every", text) == seconds


@pytest.mark.parametrize("text", ["", "5 m", "-1m", "1d", "m"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="--every takes a time such as 30s, 5m or 1h"):
        parse_seconds("--every", text)
