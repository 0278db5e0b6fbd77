"""Child processes that decode: started on demand, replaced when they die, ended when they take too long."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import pipeline
from pipeline.errors import StoreError
from pipeline.sources.decoding.child import error_of, receive, send
from pipeline.sources.decoding.jobs import Job, Reply

# How long one job may take: so long, and for large files the time that reading them takes where it is slowest (slides
# whose tiles are decoded one by one).
SECONDS_PER_JOB, BYTES_PER_SECOND = 300.0, 1 << 20
_AHEAD = 3
# Fewer files than this are read one after the other: starting a second child would take longer.
_FEW_FILES = 16


class Decoders:
    """A few child processes behind one iterator. Use it as a context manager.

    ``seconds`` is how long one job on small files may take; a child that takes longer, or dies, is replaced, and its
    job's reply is an error. No reply is lost and none comes twice.
    """

    def __init__(self, workers: int | None = None, seconds: float = SECONDS_PER_JOB) -> None:
        self._workers = workers or max(1, min(4, _cores()))
        self._seconds = seconds
        self._threads: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._children: list[_Child] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            children, self._children = self._children, []
        for child in children:
            child.stop()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Reply]]:
        """Each job with its reply, in the order of the jobs. Only a few are read ahead of what was taken.

        Raises:
            StoreError: a child could not write; no file is to blame for that.
        """
        self._threads = self._threads or ThreadPoolExecutor(self._workers, thread_name_prefix="decoder")
        waiting = deque(jobs)
        few = sum(len(job["paths"]) for job in waiting) < _FEW_FILES
        ahead = 1 if few else self._workers * _AHEAD
        running: deque[tuple[Job, Future[Reply]]] = deque()
        while waiting or running:
            while waiting and len(running) < ahead:
                job = waiting.popleft()
                running.append((job, self._threads.submit(self._answer, job)))
            job, future = running.popleft()
            reply = future.result()
            if isinstance(error := error_of(reply), StoreError):
                raise error
            yield job, reply

    def one(self, job: Job) -> Reply:
        """The reply to a single job."""
        return next(reply for _, reply in self.run([job]))

    def _answer(self, job: Job) -> Reply:
        """A child that was killed from outside says nothing about its job, which is done once more by another."""
        reply, killed = self._asked(job)
        if not killed:
            return reply
        if job["job"] == "unpack":  # into a folder of its own, which must be empty
            shutil.rmtree(job["out"], ignore_errors=True)
        return self._asked(job)[0]

    def _asked(self, job: Job) -> tuple[Reply, bool]:
        child = getattr(self._local, "child", None)
        if child is None or not child.alive:
            with self._lock:
                if self._closed:
                    return {"error": "SourceError", "message": "reading was stopped"}, False
                child = self._local.child = _Child(self._seconds)
                self._children.append(child)
        reply = child.ask(job)
        if not child.alive:
            child.stop()
            with self._lock:
                if child in self._children:
                    self._children.remove(child)
        return reply, child.killed


class _Child:
    """One child process and its pipes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timed_out = False
        package = str(Path(pipeline.__path__[0]).parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        # Not the credentials: what decodes untrusted files has no use for them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLSCAN_DICOMWEB_")}
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        environment["OPENBLAS_NUM_THREADS"] = "1"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.sources.decoding.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.alive = True
        self.killed = False

    def ask(self, job: Job) -> Reply:
        """The child's reply, or an error reply if it died over the job or took too long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        seconds = self._seconds + _bytes(job) / BYTES_PER_SECOND
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            send(self._process.stdin, job)  # type: ignore[arg-type]
            reply = receive(self._process.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError):
            reply = None
        finally:
            timer.cancel()
        if reply is not None:
            return reply
        self.alive = False
        status = self._process.wait()
        self.killed = status == -signal.SIGKILL and not self._timed_out
        if self._timed_out:
            message = f"reading took longer than {seconds:.0f} s and was stopped"
        else:
            message = f"the decoder crashed on it (exit status {status}): damaged, or too large for the memory allowed"
        return {"error": "SourceError", "message": message}

    def stop(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the pipe's other end is gone
                    pipe.close()

    def _expire(self) -> None:
        self._timed_out = True
        self._process.kill()


def _bytes(job: Job) -> int:
    """The size of the files that a job names."""
    with contextlib.suppress(OSError):
        return sum(Path(path).stat().st_size for path in job.get("paths", ()))
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
