"""Batches that are prepared while the network steps, by one thread of the training process."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader

from pipeline.datasets.samples import Batch

Item = TypeVar("Item")
_AHEAD = 2


def prefetched(items: Iterable[Item], ahead: int = _AHEAD) -> Generator[Item, None, None]:
    """The same items in the same order, up to ``ahead`` of them taken before they are asked for.

    What ``items`` raises is raised here, in its place. The thread ends when all items are taken, or when the generator
    is closed or dropped, after the item that it is at.
    """
    taken: queue.SimpleQueue[_Taken[Item] | _End] = queue.SimpleQueue()
    room, closed = threading.Semaphore(ahead), threading.Event()

    def work() -> None:
        # Its own operations are small, and the step's threads have the cores. The number is the thread's own, but
        # threads that start later take it over, so it is put back.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            source = iter(items)
            while room.acquire() and not closed.is_set():
                taken.put(_Taken(next(source)))
        except BaseException as error:  # StopIteration too: it ends the generator over there
            taken.put(_End(error))
        finally:
            torch.set_num_threads(threads)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while isinstance(one := taken.get(), _Taken):
            room.release()
            yield one.item
        if not isinstance(one.error, StopIteration):
            raise one.error
    finally:
        closed.set()
        room.release()
        thread.join()


class PrefetchingLoader(DataLoader[Batch]):
    """A `DataLoader` that, without worker processes, prepares batches in a thread.

    Only one iterator at a time; `close` ends its thread.
    """

    _batches: Generator[Batch, None, None] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # the base names its own class
        self.close()
        batches = super().__iter__()  # here, not in the thread: it may draw from torch's random numbers
        if self.num_workers:
            return batches
        self._batches = prefetched(batches)
        return self._batches

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None


@dataclass(frozen=True)
class _Taken(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class _End:
    error: BaseException
