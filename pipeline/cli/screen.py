"""What the user sees of a command: progress on stderr, its outcome on stdout, its failure in one message."""

import json
import math
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from pipeline.cli.quiet import settle_libraries
from pipeline.errors import CellscanError

FAILED = 1
PARTIAL = 3
_SECONDS_BETWEEN_LINES = 8.0


class Screen:
    """The surroundings of one command.

    ``with Screen(...) as screen`` settles the libraries, shows a progress bar while `progress` is called, and turns
    a `CellscanError` into its message and exit code 1. With ``as_json`` the only thing on stdout is one JSON
    object: the outcome, or ``{"error": message, "kind": class}``.
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self._as_json = as_json
        self._verbose = verbose
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
        if isinstance(error, CellscanError) and not self._verbose:
            self._fail(error)
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

    def give(self, outcome: Any) -> None:
        """Print the whole outcome as one JSON object; only with ``as_json``."""
        self._end_bar()
        if self._as_json:
            print(json.dumps(plain(outcome), indent=1))

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _fail(self, error: CellscanError) -> None:
        self._stderr.print(f"error: {error}", style="red")
        self.give({"error": str(error), "kind": type(error).__name__})


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
