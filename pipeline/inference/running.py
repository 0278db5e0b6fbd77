"""The process as engines want it while they run, and as it was once the last of them has ended."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.inference.freed import keep

# After each of its many operations the network waits so long for a thread beside it that computes in Python. With
# Python's own 5 ms, fields of 0.13 s took a twentieth longer.
_SWITCH_SECONDS = 2e-4

_LOCK = threading.Lock()
_running = 0
_before = (1, 0.0)


@contextmanager
def engine_running() -> Iterator[int]:
    """Gives how many processors an engine may use: what torch uses without engines, whose threads have fewer.

    Several may run, each in a thread of its own.
    """
    processors = _entered()
    try:
        yield processors
    finally:
        _left()


def _entered() -> int:
    global _running, _before
    with _LOCK:
        if not _running:
            _before = torch.get_num_threads(), sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_SECONDS)
            keep(True)
        _running += 1
        # Of this thread: those of another engine changed what threads begin with.
        torch.set_num_threads(_before[0])
        return _before[0]


def _left() -> None:
    global _running
    with _LOCK:
        _running -= 1
        torch.set_num_threads(_before[0])  # for threads to come, too: those beside the network had one
        if not _running:
            sys.setswitchinterval(_before[1])
            keep(False)
