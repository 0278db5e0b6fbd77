"""What tasks take from around them instead of as parameters, which Prefect would store."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pipeline.progress import Progress

_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


def progress() -> Progress | None:
    """Where work tells how far it is: the user's screen, or nowhere."""
    return _progress.get()


@contextmanager
def reporting_to(receiver: Progress | None) -> Iterator[None]:
    """Work inside the block tells ``receiver`` how far it is."""
    token = _progress.set(receiver)
    try:
        yield
    finally:
        _progress.reset(token)
