"""How long work tells how far it is."""

import time
from collections.abc import Callable
from typing import Protocol

# (done, total, what), called from the main thread.
Progress = Callable[[int, int, str], None]

_MINUTE, _HOUR = 60.0, 3600.0


class Paced(Protocol):
    """A progress that is also told how many steps those make that are done in part: two halves make 1."""

    def __call__(self, done: int, total: int, what: str, partly: float = 0.0) -> None: ...


def paced(progress: Progress, clock: Callable[[], float] = time.monotonic) -> Paced:
    """Tell ``progress`` also how fast it goes, and how long what is left takes at that pace.

    The first call says what was done before; ``clock`` gives seconds.
    """
    began: list[tuple[int, float]] = []

    def tell(done: int, total: int, what: str, partly: float = 0.0) -> None:
        began[:] = began or [(done, clock())]
        before, since = began[0]
        passed, made = clock() - since, done + partly - before
        if partly > 0:
            what = f"{what}, {partly:.0%} of one that is large"
        if made > 0 and passed > 0:
            what = f"{what}, {_rate(made / passed)}, {_duration((total - done - partly) * passed / made)} left"
        progress(done, total, what)

    return tell


def by_percent(tell: Callable[[int, str], None]) -> Progress:
    """A progress that calls ``tell`` with each new percentage, and with nothing in between."""
    last: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        percent = 100 * done // total if total else 100
        if last != [percent]:
            last[:] = [percent]
            tell(percent, what)

    return progress


def _rate(per_second: float) -> str:
    for unit, seconds in (("second", 1.0), ("minute", _MINUTE)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.1f} a {unit}"
    return f"{per_second * _HOUR:.1f} an hour"


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
