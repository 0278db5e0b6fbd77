"""What Prefect keeps of a run for its pages is worth no night's work: where that fails, the work goes on."""

import logging
from collections.abc import Callable
from typing import TypeVar

from prefect.exceptions import CancelledRun

T = TypeVar("T")

_log = logging.getLogger(__name__)
_told: set[type[Exception]] = set()


def best_effort(tell: Callable[[], T]) -> T | None:
    """What ``tell`` gives; `None`, and one warning for each kind of error, where it fails.

    ``tell`` has Prefect do something and does no work of its own. Whoever stops or cancels the run is heeded.
    """
    try:
        return tell()
    except CancelledRun:
        raise
    except Exception as error:  # of Prefect, its client, or what lies between
        if type(error) not in _told:
            _told.add(type(error))
            _log.warning(
                "Prefect's pages show less of this run, and its work goes on: %s: %s", type(error).__name__, error
            )
        return None
