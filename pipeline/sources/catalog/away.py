"""A database that is away for a moment: its server restarts, or the network is down."""

import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# As long as SQLite waits for another writer.
_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_log = logging.getLogger(__name__)


def outlasting(ask: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """``ask`` is called again, for up to a minute, while its database is away.

    It must stand being called twice: what was asked may have been done, and the answer alone been lost.
    """

    @functools.wraps(ask)
    def patient(*args: Given.args, **options: Given.kwargs) -> Answer:
        deadline, pause = time.monotonic() + _SECONDS, 0.0
        while True:
            try:
                return ask(*args, **options)
            except DBAPIError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
            if not pause:
                _log.warning("the database does not answer; it is asked again for %.0f seconds", _SECONDS)
            pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
            time.sleep(pause)

    return patient


def is_away(error: DBAPIError) -> bool:
    """A connection was lost, or none could be had (then no statement was sent). SQLite's file is no server."""
    if isinstance(error.orig, sqlite3.Error):
        return False
    unconnected = error.statement is None and isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or unconnected
