"""What becomes of memory that was freed, with glibc; other C libraries have nothing to call."""

import ctypes
from collections.abc import Callable
from functools import cache

# Numbers of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MOST = 2**31 - 1
# What glibc comes to by itself in a program that frees blocks of this size, and its own default.
_LARGE, _BLOCKS = 32 << 20, 65536


def give_back() -> None:
    """All of it to the system: some milliseconds; any thread may call.

    glibc keeps what several threads free for the next of them, in pieces: on a slide of 40,000 pixels to each side that
    came to a gigabyte.
    """
    _of_libc("malloc_trim")(0)


def keep(kept: bool) -> None:
    """Whether, from now on, what is freed stays with the program for what asks next.

    Layers of a network ask for the same tens of megabytes again and again. Blocks of that size otherwise go back to the
    system each time, which clears them anew: a tenth of the network's time.
    """
    option = _of_libc("mallopt")
    option(_MMAP_MAX, 0 if kept else _BLOCKS)
    option(_MMAP_THRESHOLD, _LARGE)
    option(_TRIM_THRESHOLD, _MOST if kept else 2 * _LARGE)
    if not kept:
        give_back()


@cache
def _of_libc(name: str) -> Callable[..., object]:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: None
