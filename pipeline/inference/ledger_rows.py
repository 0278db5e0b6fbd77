"""What the ledger tells of volumes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sql

State = Literal["pending", "claimed", "done", "quarantined"]


@dataclass(frozen=True)
class LedgerRow:
    """``result`` is where the detections lie, of a volume that is done; ``attempts`` counts claims.

    Of its ``windows``, ``background`` were not given to the network.
    """

    volume_id: str
    state: State
    reason: str
    result: Path
    detections: int
    windows: int
    background: int
    attempts: int
    failures: int

    @classmethod
    def of(cls, row: sql.Row[Any], results: Path) -> Self:
        """``row`` of the table, whose results lie below ``results``."""
        return cls(
            volume_id=row.volume_id,
            state=row.state,
            reason=row.reason,
            result=results / row.result,
            detections=row.detections,
            windows=row.windows,
            background=row.background,
            attempts=row.attempts,
            failures=row.failures,
        )


@dataclass(frozen=True)
class Open:
    """What is not done or quarantined: ``pending`` can be claimed now, ``elsewhere`` others have claimed."""

    pending: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.pending) + len(self.elsewhere)
