"""What the user sees of a command: progress on stderr, its outcome on stdout, its failure in one message."""

import errno
import io
import json
import math
import os
import sys
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from pipeline.cli.quiet import settle_libraries
from pipeline.errors import CellscanError

FAILED = 1
PARTIAL = 3
_SECONDS_BETWEEN_LINES = 8.0
_NO_TERMINAL_WIDTH = 10_000
_ADVICE = {
    errno.ENOSPC: "free some space; the same command then continues",
    errno.EDQUOT: "free some space; the same command then continues",
    errno.EACCES: "give yourself the right to it, or name another place",
    errno.EPERM: "give yourself the right to it, or name another place",
    errno.EROFS: "name another place",
}


class Screen:
    """The surroundings of one command.

    ``with Screen(...) as screen`` settles the libraries, shows a progress bar while `progress` is called, and turns
    a `CellscanError`, and what disk, locks and databases refuse, into a message and exit code 1. With ``as_json``
    the only thing on stdout is one JSON object: the outcome, or ``{"error": message, "kind": class}``.
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self._as_json = as_json
        self._verbose = verbose
        _show_any_name()
        self._stdout = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._stderr = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told_at = time.monotonic()

    def __enter__(self) -> "Screen":
        settle_libraries(self._verbose)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()
        if isinstance(error, KeyboardInterrupt):
            self._stderr.print("stopped; the same command continues from here")
            raise typer.Exit(130) from error
        message = None if self._verbose or error is None else expected(error)
        if error is not None and message is not None:
            self._fail(error, message)
            raise typer.Exit(FAILED) from error

    def progress(self, done: int, total: int, what: str) -> None:
        """Show that ``done`` of ``total`` steps are done, ``what`` being the present one."""
        if not self._stderr.is_terminal:
            self._tell_now_and_then(done, total, what)
            return
        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._stderr,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=total)
        assert self._task is not None
        self._bar.update(self._task, description=what, completed=done, total=total)

    def _tell_now_and_then(self, done: int, total: int, what: str) -> None:
        """Where there is no terminal (a log, a scheduler): a line when some seconds have passed without one."""
        now = time.monotonic()
        if not self._as_json and now - self._told_at >= _SECONDS_BETWEEN_LINES:
            self._told_at = now
            self._stderr.print(f"  {what} ({done} of {total})")

    def note(self, text: str) -> None:
        """Say on stderr what is about to be done."""
        self._end_bar()
        self._stderr.print(text, style="dim")

    def say(self, *lines: str) -> None:
        """Print lines of the outcome; not with ``as_json``."""
        self._end_bar()
        if not self._as_json:
            for line in lines:
                self._stdout.print(line)

    def show(self, *tables: RenderableType) -> None:
        """Print tables, as wide as the terminal, or as wide as they are where there is none; not with ``as_json``."""
        self._end_bar()
        if not self._as_json:
            wide = None if self._stdout.is_terminal or "COLUMNS" in os.environ else _NO_TERMINAL_WIDTH
            console = Console(highlight=False, markup=False, emoji=False, width=wide)
            for table in tables:
                console.print(table)

    def give(self, outcome: Any) -> None:
        """Print the whole outcome as one JSON object; only with ``as_json``."""
        self._end_bar()
        if self._as_json:
            print(json.dumps(plain(outcome), indent=1))

    def give_line(self, outcome: Any) -> None:
        """Print one of several outcomes as a line of JSON; only with ``as_json``."""
        self._end_bar()
        if self._as_json:
            print(json.dumps(plain(outcome)), flush=True)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _fail(self, error: BaseException, message: str) -> None:
        self._stderr.print(f"error: {message}", style="red")
        self.give({"error": message, "kind": type(error).__name__})


def _show_any_name() -> None:
    """Names of files that are not UTF-8 reach us with surrogates, which a strict stream would refuse."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def expected(error: BaseException) -> str | None:
    """What to tell of an error that is no mistake of the program; ``None`` if it may be one."""
    if isinstance(error, CellscanError):
        return str(error)
    # Only who has imported a library meets its errors.
    database, locks = sys.modules.get("sqlalchemy.exc"), sys.modules.get("filelock")
    if database is not None and isinstance(error, database.OperationalError):
        why = next(iter(str(error.orig).splitlines()), "")
        return f"a database did not do as asked: {why}; if another program holds it, wait for that one, and try again"
    if locks is not None and isinstance(error, locks.Timeout):
        return f"another cellscan process holds {error.lock_file}; wait for it, or stop it, and try again"
    # A reader that left (`| head`) is typer's.
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return _told_by_the_system(error)
    return None


def _told_by_the_system(error: OSError) -> str:
    why = error.strerror or next(iter(str(error).splitlines()), "") or type(error).__name__
    where = "" if error.filename is None else f": {error.filename}"
    advice = _ADVICE.get(error.errno or 0)
    return f"{why}{where}" + (f"; {advice}" if advice else "")


def plain(value: Any) -> Any:
    """Records → what JSON has: a figure that does not exist (NaN) becomes null, a path its text."""
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
