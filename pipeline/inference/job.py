"""One volume to detect on, as the engine sees it."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch

from pipeline.detections import Detections
from pipeline.errors import CellscanError, StoreError
from pipeline.volumes import Volume

T = TypeVar("T")


class Job(Protocol):
    """To be ended in one of three ways, once; the engine calls from threads of its own.

    ``alone``: it failed before, perhaps by taking its worker down; no other is worked on beside it.
    """

    @property
    def alone(self) -> bool: ...

    def volume(self) -> Volume:
        """What is to be detected on."""

    def finish(self, detections: Detections, windows: int, background: int) -> None:
        """Keep the result; of the scan's ``windows``, ``background`` were not given to the network."""

    def fail(self, error: Exception) -> None:
        """It could not be done, for a reason of its own."""

    def release(self) -> None:
        """It was not done, for no reason of its own."""


Jobs = Callable[[Callable[[], None]], Iterator[Job]]
"""Gives jobs as they are asked for. What it is given waits for a while, and ends it with the run, where there may be
another job later."""


def attempted(work: Callable[[], T]) -> T | Exception:
    """What ``work`` gives, or the error that is one scan's own and must not end the night's run.

    Raises:
        torch.AcceleratorError: the device is gone for this process: every further scan would fail.
        StoreError: nothing can be written, the same.
    """
    try:
        return work()
    except (torch.AcceleratorError, StoreError):
        raise
    except (CellscanError, ValueError, RuntimeError, OSError, MemoryError) as error:
        return error
