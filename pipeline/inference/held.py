"""What a worker has in hand, by any of its threads."""

import threading
from collections.abc import Mapping


class Held:
    """Volumes, each with the number of the attempt on it: an earlier one that ends late lets go of nothing."""

    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def volumes(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._attempts)

    def take(self, attempts: Mapping[str, int]) -> None:
        with self._lock:
            self._attempts.update(attempts)

    def drop(self, volume_id: str, attempt: int) -> None:
        with self._lock:
            if self._attempts.get(volume_id) == attempt:
                del self._attempts[volume_id]
