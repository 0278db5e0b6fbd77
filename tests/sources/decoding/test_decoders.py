import os
import signal
import threading

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.decoding.child import answer, error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.units import read_headers
from tests.sources.written import oblique_slice, write, write_png


@pytest.fixture
def stuck(archive):
    """A file that blocks whoever opens it, as a hung decoder would."""
    path = archive / "stuck.png"
    os.mkfifo(path)
    return path


def _picture(path, out):
    return {"job": "picture", "paths": [str(path)], "out": str(out)}


def test_job_that_takes_too_long_is_stopped_and_the_next_is_done(archive, stuck):
    good = write_png(archive / "good.png", np.zeros((4, 5), dtype=np.uint8))
    with Decoders(1, seconds=2) as decoders:
        replies = [reply for _, reply in decoders.run([_picture(stuck, archive / "0"), _picture(good, archive / "1")])]
    assert replies[0]["message"] == "reading took longer than 2 s and was stopped"
    assert replies[1]["scans"][0]["grid"]["shape"] == [5, 4]


def test_crash_of_a_decoder_costs_its_job_only(archive, stuck):
    good = write_png(archive / "good.png", np.zeros((4, 5), dtype=np.uint8))
    with Decoders(1) as decoders:
        assert "scans" in decoders.one(_picture(good, archive / "0"))
        (child,) = decoders._children
        killer = threading.Timer(0.5, os.kill, (child._process.pid, signal.SIGSEGV))
        killer.start()
        crashed = decoders.one(_picture(stuck, archive / "1"))
        killer.join()
        again = decoders.one(_picture(good, archive / "2"))
    assert f"crashed on it (exit status -{int(signal.SIGSEGV)})" in crashed["message"]
    assert "scans" in again


def test_replies_come_in_the_order_of_the_jobs(archive):
    paths = [write_png(archive / f"{n}.png", np.zeros((4, n + 1), dtype=np.uint8)) for n in range(20)]
    with Decoders(3) as decoders:
        jobs = [_picture(path, path.with_suffix("")) for path in paths]
        widths = [reply["scans"][0]["grid"]["shape"][0] for _, reply in decoders.run(jobs)]
    assert widths == list(range(1, 21))


def test_one_broken_file_leaves_the_other_headers(archive, decoders):
    good = str(write(oblique_slice(0, np.zeros((8, 12), dtype=np.int16)), archive / "good.dcm"))
    bad = archive / "bad.dcm"
    bad.write_bytes(b"no DICOM at all")
    headers = read_headers({good: good, str(bad): str(bad)}, decoders)
    assert headers[good]["kind"] == "slice"
    assert headers[str(bad)]["kind"] == "broken"


def test_no_child_is_left_behind(archive):
    good = write_png(archive / "good.png", np.zeros((4, 5), dtype=np.uint8))
    with Decoders(1) as decoders:
        decoders.one(_picture(good, archive / "0"))
        (child,) = decoders._children
    assert child._process.returncode is not None


def test_even_a_panic_becomes_a_reply(monkeypatch):
    class Panic(BaseException):
        """As pyo3's PanicException: no subclass of Exception."""

    def panic(job):
        raise Panic("patient Doe")

    monkeypatch.setattr("pipeline.sources.decoding.child.do", panic)
    reply = answer({"job": "picture", "paths": []})
    assert isinstance(error_of(reply), SourceError)
    assert "Doe" not in reply["message"]
