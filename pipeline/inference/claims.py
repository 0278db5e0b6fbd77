"""The volumes of a run, claimed one after the other until nothing is left to do."""

import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.inference.ledger import Claim, Ledger
from pipeline.sources.catalog.saving import chunks

_AT_A_GLANCE = 200
_WAIT_SECONDS = 1.0


def _wait() -> None:
    time.sleep(_WAIT_SECONDS)


def _never() -> bool:
    return False


def claims(
    ledger: Ledger,
    volume_ids: Sequence[str],
    began: float,
    wait: Callable[[], None] = _wait,
    cancelled: Callable[[], bool] = _never,
) -> Iterator[Claim]:
    """Claim those of ``volume_ids`` that are open, in about this order, one whenever the next one is asked for.

    Workers of one run share its volumes this way. It ends when every volume is done, quarantined or left to a later
    run: one that another worker has is waited for, and taken when that one dies. A worker may ask for several before
    it has ended the first (to read ahead); for its own it does not wait.

    Args:
        ledger: the worker's own.
        volume_ids: of the run.
        began: when the run began, by `Ledger.time`.
        wait: called before looking again, where other workers have all that is left.
        cancelled: asked before each claim; where it is so, nothing more comes.
    """
    while not cancelled() and (left := ledger.open(volume_ids, began)).count:
        found = False
        for some in chunks([*left.pending, *left.elsewhere], _AT_A_GLANCE):
            while not cancelled() and (got := ledger.claim(some, began)):
                found = True
                yield from got
        if not found and not left.pending and not ledger.expire_dead():
            wait()
