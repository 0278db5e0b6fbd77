"""How far a run is, seen from outside: by what its workers have entered in the ledger."""

import time
from collections.abc import Callable
from types import TracebackType

from pipeline.inference.archive import DetectionRun
from pipeline.progress import Progress, paced
from pipeline.settings import Settings

# Looks take the database one part in so many of the time, and no more.
_RARELY = 50.0


class Following:
    """Tells a progress what all workers of a run have done.

    A context manager: left by an error, as by Ctrl-C, it has the workers stop, wherever they are.
    """

    def __init__(
        self,
        run: DetectionRun,
        settings: Settings,
        progress: Progress | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._ledger = run.ledger(settings)
        self._left = run.wanted
        self._clock, self._due = clock, 0.0
        self._progress = paced(progress) if progress else None

    def __enter__(self) -> "Following":
        self.tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._ledger.cancel(self._run.name)
        finally:
            self._ledger.close()

    def is_due(self) -> bool:
        """Whether it is time for another look: with very many volumes left, one takes the database a while."""
        return self._clock() >= self._due

    def tell(self) -> int:
        """Look, and tell; how many volumes are left to do."""
        began = self._clock()
        still = self._ledger.open(self._left, self._run.began)
        self._left = (*still.pending, *still.elsewhere)
        ended = self._clock()
        self._due = ended + _RARELY * (ended - began)
        if self._progress:
            total = len(self._run.wanted)
            self._progress(total - still.count, total, "detecting")
        return still.count

    def bury(self) -> None:
        """Let others take at once what dead workers of this machine had claimed."""
        self._ledger.expire_dead()
