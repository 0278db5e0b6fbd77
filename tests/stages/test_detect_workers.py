import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.errors import ConfigError, ModelError
from pipeline.inference.archive import work
from pipeline.inference.following import Following
from pipeline.settings import Runner
from pipeline.stages import detect_worker
from pipeline.stages.detect import detect_archive, detect_here, finish_detection, prepare_detection
from pipeline.stages.detect_team import detect_in_processes

SCANS = 6


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(SCANS):
        pixels = np.random.default_rng(number).integers(0, 255, (60, 70), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def python(tmp_path, monkeypatch):
    """``python(script)``: child processes run this shell script instead of Python, whose path it has as ``$PYTHON``."""

    def replaced_by(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\nPYTHON={sys.executable}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return replaced_by


def elsewhere(settings, home):
    return replace(settings, home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}")


def files(folder, *endings):
    found = [path for path in folder.rglob("*") if path.is_file() and path.name.endswith(endings)]
    return {path.name: path.read_bytes() for path in found}


def test_workers_of_which_one_is_killed_give_the_bytes_of_a_single_one(tracked, register, scans, tmp_path, python):
    version = f"cells/{register(8)}"
    alone = detect_archive(version, scans, tmp_path / "alone", elsewhere(tracked, tmp_path / "a"))
    settings = replace(elsewhere(tracked, tmp_path / "b"), runner=Runner("processes", 2))
    prepared = prepare_detection(version, scans, settings)
    python(f'if mkdir "{tmp_path / "first"}" 2> /dev/null; then kill -9 $$; fi; exec "$PYTHON" "$@"')
    told = []
    detect_in_processes(prepared.record.bundle_folder, prepared.run, settings, 2, lambda *one: told.append(one))
    together = finish_detection(prepared, tmp_path / "together", settings)
    assert (together.detected_now, together.done_before) == (alone.detected_now, alone.done_before) == (SCANS, 0)
    assert together.scans == alone.scans
    assert files(tmp_path / "together", ".csv", ".geojson") == files(tmp_path / "alone", ".csv", ".geojson")
    assert files(tmp_path / "a" / "detections", "") == files(tmp_path / "b" / "detections", "")
    assert told[0] == (0, SCANS, "detecting")
    assert told[-1][:2] == (SCANS, SCANS)


def test_between_looks_that_take_long_workers_are_left_to_work_and_their_ends_are_seen(
    tracked, register, scans, monkeypatch
):
    prepared, told = prepare_detection(f"cells/{register(8)}", scans, tracked), []
    monkeypatch.setattr(Following, "is_due", lambda following: False)
    detect_in_processes(prepared.record.bundle_folder, prepared.run, tracked, 2, lambda *one: told.append(one[:2]))
    assert told[0] == (0, SCANS)
    assert told[-1] == (SCANS, SCANS)
    assert len(told) <= 3  # at the beginning, and when a worker ended


def test_workers_that_die_again_and_again_before_anything_is_done_end_the_run(
    tracked, register, scans, python, monkeypatch
):
    prepared = prepare_detection(f"cells/{register(8)}", scans, tracked)
    python("kill -9 $$")
    with pytest.raises(ModelError, match=r"workers died while not one scan was done.*fewer \(--workers\)"):
        detect_in_processes(prepared.record.bundle_folder, prepared.run, tracked, 2)


def test_the_error_of_a_worker_reaches_the_user_whole(tracked, register, scans, python):
    prepared = prepare_detection(f"cells/{register(8)}", scans, tracked)
    python("echo no space left >&2; exit 1")
    with pytest.raises(ModelError, match="a worker failed:\nno space left"):
        detect_in_processes(prepared.record.bundle_folder, prepared.run, tracked, 2)


def test_where_nothing_is_open_no_worker_is_started(tracked, register, scans, tmp_path, python):
    version = f"cells/{register(8)}"
    detect_archive(version, scans, tmp_path / "out", tracked)
    python("echo no worker is needed >&2; exit 1")
    settings = replace(tracked, runner=Runner("processes", 3))
    detect_here(prepare_detection(version, scans, settings), settings)


def test_a_worker_with_another_ledger_says_so(tracked, register, scans, tmp_path):
    prepared = prepare_detection(f"cells/{register(8)}", scans, tracked)
    other = replace(tracked, catalog_url=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(ConfigError, match="another ledger than the one in which the run was begun: set CELLSCAN_HOME"):
        work(None, prepared.run, None, other)


def test_a_worker_that_reads_the_experiment_in_another_way_does_not_work(tracked, register, scans):
    prepared = prepare_detection(f"cells/{register(8)}", scans, tracked)
    other = replace(prepared.run, config="0123456789abcdef")
    with pytest.raises(ModelError, match="0123456789abcdef where the run was begun: install the same release"):
        detect_worker.detect_with(prepared.record.bundle_folder, other, tracked)


def test_only_what_failed_is_tried_again_when_that_is_asked_for(tracked, register, scans, tmp_path):
    version = f"cells/{register(8)}"
    first = prepare_detection(version, scans, tracked)
    (bad, *_) = first.run.volume_ids
    with first.run.ledger(tracked) as ledger:
        (claim,) = ledger.claim([bad], first.run.began)
        claim.fail("SourceError: the disk was away")
    summary = detect_archive(version, scans, tmp_path / "out", tracked, only_failed=True)
    assert (len(summary.scans), summary.quarantined) == (1, {})
    assert set(summary.unfinished.values()) == {"not tried in this run"}
    assert len(detect_archive(version, scans, tmp_path / "out", tracked).scans) == SCANS


def test_a_worker_stops_as_by_ctrl_c_when_who_started_it_is_gone(monkeypatch):
    ours, theirs = os.pipe()
    os.close(theirs)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with os.fdopen(ours) as closed:
        monkeypatch.setattr(sys, "stdin", closed)
        with pytest.raises(KeyboardInterrupt):
            detect_worker._stop_with_parent()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("gpus", "device", "devices"),
    [
        (2, "auto", ["cuda:0", "cuda:1", "cuda:0"]),
        (2, "cuda:1", ["cuda:1", "cuda:1", "cuda:1"]),
        (1, "auto", ["auto", "auto", "auto"]),
        (0, "auto", ["auto", "auto", "auto"]),
        (2, "cpu", ["cpu", "cpu", "cpu"]),
    ],
)
def test_workers_take_turns_with_gpus(monkeypatch, gpus, device, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [detect_worker.device_of(device, number) for number in range(3)] == devices
