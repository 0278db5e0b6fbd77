"""What still arrives: a file that is being copied, a study that is being sent, changes from one look to the next."""

import time
from collections.abc import Callable, Container, Hashable

Clock = Callable[[], float]


class Settling:
    """Remembers in which state each thing was seen, and since when.

    It counts what was seen here, not the times that files carry: copying may set those to any day, and the clock of
    another machine may be wrong.

    Args:
        seconds: for so long a thing must have stayed as it is.
        clock: gives seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: dict[str, tuple[Hashable, float]] = {}

    def has_settled(self, name: str, state: Hashable) -> bool:
        """Whether ``name`` has been in this state for long enough; seen for the first time, its time begins."""
        now = self._clock()
        known = self._since.get(name)
        if known is None or known[0] != state:
            self._since[name] = known = (state, now)
        return now - known[1] >= self._seconds

    def keep(self, names: Container[str]) -> None:
        """Forget all but these: what has come need not be remembered."""
        self._since = {name: seen for name, seen in self._since.items() if name in names}
