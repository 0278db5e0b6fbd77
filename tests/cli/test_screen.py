import errno
import io
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from filelock import Timeout
from sqlalchemy.exc import OperationalError

from pipeline.cli.screen import Screen, plain
from pipeline.errors import GeometryError

pytestmark = pytest.mark.usefixtures("undisturbed")


@dataclass(frozen=True)
class Outcome:
    folder: Path
    figures: dict[str, float]
    names: tuple[str, ...]


def test_figures_that_do_not_exist_become_null():
    outcome = Outcome(Path("/a"), {"f1": math.nan, "recall": math.inf, "precision": 0.5}, ("x",))
    expected = {"folder": "/a", "figures": {"f1": None, "recall": None, "precision": 0.5}, "names": ["x"]}
    assert plain(outcome) == expected


def test_a_record_says_itself_how_it_becomes_json():
    class Summary:
        def to_json(self):
            return {"counts": (1, math.nan)}

    assert plain([Summary()]) == [{"counts": [1, None]}]


def test_json_is_the_only_thing_on_stdout(capfd):
    with Screen(as_json=True) as screen:
        screen.progress(1, 2, "reading")
        screen.note("training version 2")
        screen.say("2 files")
        screen.give({"files": 2})
    written = capfd.readouterr()
    assert json.loads(written.out) == {"files": 2}
    assert "training version 2" in written.err


def test_without_json_only_the_lines_are_on_stdout(capfd):
    with Screen() as screen:
        screen.progress(1, 2, "reading")
        screen.say("2 files", "[bold]no markup[/bold] :warning:")
        screen.give({"files": 2})
    assert capfd.readouterr().out == "2 files\n[bold]no markup[/bold] :warning:\n"


def test_a_name_that_is_not_utf8_is_shown_and_ends_nothing(monkeypatch):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    name = os.fsdecode(b"scan \xff \xc3\xa9.png")
    with Screen() as screen:
        screen.say(name)
    with pytest.raises(typer.Exit), Screen():
        raise GeometryError(name)
    for stream in (out, err):
        stream.flush()
    assert out.buffer.getvalue().decode() == "scan \\udcff é.png\n"
    assert err.buffer.getvalue().decode() == "error: scan \\udcff é.png\n"


def test_long_lines_are_not_broken(capfd):
    with Screen() as screen:
        screen.say("x" * 500)
    assert capfd.readouterr().out == "x" * 500 + "\n"


def test_an_expected_error_ends_in_its_message_and_code_1(capfd):
    with pytest.raises(typer.Exit) as end, Screen():
        raise GeometryError("series 3f2a: slices 2.5 mm apart, then 5.0 mm: one is missing")
    written = capfd.readouterr()
    assert end.value.exit_code == 1
    assert written.err == "error: series 3f2a: slices 2.5 mm apart, then 5.0 mm: one is missing\n"
    assert written.out == ""


def test_with_json_an_expected_error_is_an_object_too(capfd):
    with pytest.raises(typer.Exit), Screen(as_json=True):
        raise GeometryError("tilted")
    assert json.loads(capfd.readouterr().out) == {"error": "tilted", "kind": "GeometryError"}


def test_verbose_shows_an_expected_error_whole():
    with pytest.raises(GeometryError), Screen(verbose=True):
        raise GeometryError("tilted")


_REFUSED = [
    (
        OSError(errno.ENOSPC, "No space left on device", "/home/x"),
        "No space left on device: /home/x; free some space; the same command then continues",
    ),
    (
        PermissionError(errno.EACCES, "Permission denied", "/out"),
        "Permission denied: /out; give yourself the right to it, or name another place",
    ),
    (ConnectionError("upload failed\nin many words"), "upload failed"),
    (Timeout("/home/x.lock"), "another cellscan process holds /home/x.lock; wait for it, or stop it, and try again"),
    (
        OperationalError("select *", {"secret": 1}, Exception("database is locked")),
        "a database did not do as asked: database is locked; if another program holds it, wait for that one, "
        "and try again",
    ),
]


@pytest.mark.parametrize(("error", "message"), _REFUSED, ids=lambda value: type(value).__name__)
def test_what_the_system_refuses_is_one_line_and_an_object(error, message, capfd):
    for as_json in (False, True):
        with pytest.raises(typer.Exit) as end, Screen(as_json=as_json):
            raise error
        written = capfd.readouterr()
        assert end.value.exit_code == 1
        assert written.err == f"error: {message}\n"
        assert not as_json or json.loads(written.out) == {"error": message, "kind": type(error).__name__}


@pytest.mark.parametrize(("error", "message"), _REFUSED, ids=lambda value: type(value).__name__)
def test_verbose_shows_what_the_system_refuses_whole(error, message):
    with pytest.raises(type(error)), Screen(verbose=True):
        raise error


def test_a_reader_that_left_is_no_error_of_ours(capfd):
    with pytest.raises(BrokenPipeError), Screen():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert capfd.readouterr().err == ""


def test_an_unexpected_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError), Screen():
        raise ZeroDivisionError


def test_an_interrupt_says_that_the_command_can_be_continued(capfd):
    with pytest.raises(typer.Exit) as end, Screen():
        raise KeyboardInterrupt
    assert end.value.exit_code == 130
    assert "continues" in capfd.readouterr().err


def test_without_a_terminal_progress_is_a_line_now_and_then(capfd, monkeypatch):
    clock = iter([0.0, 3.0, 9.0, 10.0, 18.0])
    monkeypatch.setattr("pipeline.cli.screen.time.monotonic", lambda: next(clock))
    with Screen() as screen:
        for done in range(1, 5):
            screen.progress(done, 4, "reading")
    assert capfd.readouterr().err == "  reading (2 of 4)\n  reading (4 of 4)\n"
