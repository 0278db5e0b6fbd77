"""What a worker has in hand, by any of its threads."""

import threading
from collections.abc import Iterable


class Held:
    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._names)

    def take(self, names: Iterable[str]) -> None:
        with self._lock:
            self._names.update(names)

    def drop(self, names: Iterable[str]) -> None:
        with self._lock:
            self._names.difference_update(names)
