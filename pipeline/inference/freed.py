"""Memory that was freed goes back to the system.

glibc keeps what several threads free for the next of them, in pieces: on a slide of 40,000 pixels to each side that
came to a gigabyte. Other C libraries do not, and have nothing to call.
"""

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Some milliseconds; any thread may call."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda pad: None
