"""How far a run is, seen from outside: by what its workers have entered in the ledger."""

from types import TracebackType

from pipeline.inference.archive import DetectionRun
from pipeline.progress import Progress, paced
from pipeline.settings import Settings


class Following:
    """Tells a progress what all workers of a run have done.

    A context manager: left by an error, as by Ctrl-C, it has the workers stop, wherever they are.
    """

    def __init__(self, run: DetectionRun, settings: Settings, progress: Progress | None) -> None:
        self._run = run
        self._ledger = run.ledger(settings)
        self._left = run.wanted
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

    def tell(self) -> int:
        """Look, and tell; how many volumes are left to do."""
        still = self._ledger.open(self._left, self._run.began)
        self._left = (*still.pending, *still.elsewhere)
        if self._progress:
            total = len(self._run.wanted)
            self._progress(total - still.count, total, "detecting")
        return still.count

    def bury(self) -> None:
        """Let others take at once what dead workers of this machine had claimed."""
        self._ledger.expire_dead()
