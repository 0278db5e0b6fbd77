"""A sign of life now and then, given by a thread while the others work."""

import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError


class Heartbeat:
    """Calls ``beat`` every ``seconds`` from `start` to `stop`; a database that is away then is asked again later."""

    def __init__(self, beat: Callable[[], object], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; nothing where it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """No beat is under way any more when this returns."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._beat()
            except DBAPIError:
                continue
