"""How long work tells how far it is."""

import time
from collections.abc import Callable

# (done, total, what), called from the main thread.
Progress = Callable[[int, int, str], None]

_MINUTE, _HOUR = 60.0, 3600.0


def paced(progress: Progress, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Tell ``progress`` also how fast it goes, and how long what is left takes at that pace.

    The first call says what was done before; ``clock`` gives seconds.
    """
    began: list[tuple[int, float]] = []

    def tell(done: int, total: int, what: str) -> None:
        began[:] = began or [(done, clock())]
        before, since = began[0]
        passed, made = clock() - since, done - before
        if made > 0 and passed > 0:
            what = f"{what}, {_rate(made / passed)}, {_duration((total - done) * passed / made)} left"
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
