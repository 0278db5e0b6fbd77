"""How long work tells how far it is."""

from collections.abc import Callable

# (done, total, what), called from the main thread.
Progress = Callable[[int, int, str], None]
