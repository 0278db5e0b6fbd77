"""Several pieces of work at once on a CPU, each with its share of the processors."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

Work = Callable[[], None]


class Lanes:
    """Two windows side by side are seen 0.95 to 1.25 times as fast as one after the other by all processors, and what
    one lane does between windows does not hold up the other (2 cores; torch 2.13).

    With one lane, work is done in the calling thread, at once.

    Args:
        count: of lanes.
        processors: that they share alike: how a network rounds depends on how many it has.
        failed: told, in the lane's thread, when a piece of work raised something; the next `do`, or `wait`, raises it.
    """

    def __init__(self, count: int, processors: int, failed: Work) -> None:
        self._failed = failed
        self._going: deque[Future[None]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        if count > 1:
            self._pool = ThreadPoolExecutor(count, "lane", torch.set_num_threads, (processors // count,))

    @property
    def busy(self) -> bool:
        return any(not one.done() for one in self._going)

    def do(self, work: Work) -> None:
        """Now, or when a lane is free."""
        if self._pool is None:
            work()
            return
        self._going.append(self._pool.submit(self._done, work))
        while self._going and self._going[0].done():
            self._going.popleft().result()

    def wait(self, meanwhile: Work = lambda: None) -> None:
        """Until all is done; raises what a piece of it raised. ``meanwhile`` is called after each."""
        while self._going:
            self._going.popleft().result()
            meanwhile()

    def close(self) -> None:
        """What has not begun is dropped, what has is waited for."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _done(self, work: Work) -> None:
        try:
            work()
        except BaseException:
            self._failed()
            raise
