"""What a server says of an instance that it was sent: by STOW-RS (PS3.18 10.5.3) or C-STORE (PS3.4 B.2.3)."""

import json
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["stored", "duplicate", "failed"]
_FAILED, _REASON = "00081198", "00081197"
# PS3.7 annex C: there already. What is sent is the same by its UID, so nothing is missing.
_DUPLICATE = 0x0111
_WARNINGS = range(0xB000, 0xC000)
_BUSY = range(0xA700, 0xA800)


@dataclass(frozen=True)
class Answer:
    """``busy``: it may do at another time."""

    outcome: Outcome
    reason: str = ""
    busy: bool = False


def stow_answer(status: int, body: bytes) -> Answer:
    """The answer to a request with one instance; a server may say no more than the HTTP status."""
    codes = [_failure(one) for one in _items(body)]
    if not codes:
        return Answer("stored") if status < 400 else Answer("failed", f"refused (HTTP {status})")
    return store_answer(codes[0])


def store_answer(status: int) -> Answer:
    """By a status of C-STORE, which STOW-RS gives as FailureReason too."""
    if status == 0 or status in _WARNINGS:
        return Answer("stored", "" if status == 0 else f"with a warning (0x{status:04X})")
    if status == _DUPLICATE:
        return Answer("duplicate")
    return Answer("failed", f"refused (status 0x{status:04X})", busy=status in _BUSY)


def _items(body: bytes) -> list[dict[str, Any]]:
    try:
        said = json.loads(body)
    except ValueError:
        return []
    failed = said.get(_FAILED) if isinstance(said, dict) else None
    items = failed.get("Value") if isinstance(failed, dict) else None
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


def _failure(item: dict[str, Any]) -> int:
    stated = item.get(_REASON)
    values = stated.get("Value") if isinstance(stated, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    return first if isinstance(first, int) else 0x0110  # processing failure
