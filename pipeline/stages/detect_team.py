"""Several workers of a detection on this machine, each a process of its own."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import torch

import pipeline
from pipeline.errors import ModelError
from pipeline.inference.archive import DetectionRun
from pipeline.inference.following import Following
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.detect_worker import STOPPED, Order

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 30.0
_DEATHS_IN_VAIN = 3


def detect_in_processes(
    bundle_folder: Path, run: DetectionRun, settings: Settings, workers: int, progress: Progress | None = None
) -> None:
    """Detect in so many processes until nothing of the run is left; one that is killed is replaced.

    However this ends, no process is left behind; killed itself, they notice and stop.

    Args:
        bundle_folder: the version's files.
        run: what to do.
        settings: of the run.
        workers: how many; they share the processor's cores.
        progress: called every second, or less often where so many scans are left that a look takes a while.

    Raises:
        ModelError: a worker failed, with its message, or they die again and again while nothing gets done.
    """
    with Following(run, settings, progress) as following, _team(bundle_folder, run, settings, workers) as team:
        left, deaths = len(run.wanted), 0
        while team.working():
            if not team.wait(_LOOK_SECONDS) and not following.is_due():
                continue
            now = following.tell()
            deaths += team.replace_dead(following, now)
            deaths = deaths if now == left else 0
            left = now
            if deaths > _DEATHS_IN_VAIN * workers:
                raise ModelError(
                    f"{deaths} workers died while not one scan was done: is there memory for {workers} of them? "
                    "Give fewer (--workers)"
                )


class _Team:
    def __init__(self, bundle_folder: Path, run: DetectionRun, settings: Settings, workers: int, logs: Path) -> None:
        threads = max(torch.get_num_threads() // workers, 1)
        self._orders = [Order(bundle_folder, run, settings, number, threads) for number in range(workers)]
        self._logs = logs
        self._members = [self._start(order) for order in self._orders]

    def working(self) -> bool:
        """Whether one was alive when it was last looked at; one that died since will be replaced."""
        return any(member.returncode is None for member in self._members)

    def wait(self, seconds: float) -> bool:
        """So long, or until a worker ends; whether one did."""
        alive = [member for member in self._members if member.returncode is None]
        with suppress(subprocess.TimeoutExpired):
            alive[0].wait(seconds)
        return any(member.poll() is not None for member in alive)

    def replace_dead(self, following: Following, left: int) -> int:
        """Start another one for each that was killed, as long as there is something left to do; how many.

        Raises:
            ModelError: one ended with an error, which would be that of its successor as well.
        """
        ended = [number for number, member in enumerate(self._members) if member.poll()]
        if not left:
            return 0
        for number in ended:
            code = self._members[number].returncode
            if code > 0 and code != STOPPED:
                raise ModelError(f"a worker failed:\n{self._told(number)}")
            following.bury()
            _pipe(self._members[number]).close()
            self._members[number] = self._start(self._orders[number])
        return len(ended)

    def stop(self) -> None:
        for member in self._members:
            _pipe(member).close()
        for member in self._members:
            try:
                member.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                member.kill()
                member.wait()

    def _start(self, order: Order) -> "subprocess.Popen[bytes]":
        root = str(Path(pipeline.__file__).parents[1])
        known = filter(None, [os.environ.get("PYTHONPATH")])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *known])}
        written = self._logs / f"{order.number}.order"
        written.write_bytes(pickle.dumps(order))  # into a pipe it would not fit before the worker reads
        with self._log(order.number).open("wb") as log:
            # A group of its own: what the user stops with Ctrl-C is this process, which then ends its workers.
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline.stages.detect_worker", str(written)],
                env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0,
            )  # fmt: skip

    def _log(self, number: int) -> Path:
        return self._logs / f"{number}.log"

    def _told(self, number: int) -> str:
        told = self._log(number).read_text(encoding="utf-8", errors="replace").strip()
        return told or f"it ended with {self._members[number].returncode} and said nothing"


@contextmanager
def _team(bundle_folder: Path, run: DetectionRun, settings: Settings, workers: int) -> Iterator[_Team]:
    with tempfile.TemporaryDirectory(prefix="cellscan-") as logs:
        team = _Team(bundle_folder, run, settings, workers, Path(logs))
        try:
            yield team
        finally:
            team.stop()


def _pipe(member: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert member.stdin is not None
    return member.stdin
