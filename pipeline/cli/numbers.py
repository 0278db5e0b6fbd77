"""How a user names folds, seeds and shares of the data."""

import re
from typing import Literal

from pipeline.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_folds(text: str | None) -> Literal["all"] | tuple[int, ...] | None:
    """``all``, ``0,2`` or nothing.

    Raises:
        ConfigError: it is something else.
    """
    if text is None:
        return None
    if text == "all":
        return "all"
    return _numbers("--folds", text, "all or numbers such as 0,2")


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """``0,1,2`` or nothing.

    Raises:
        ConfigError: it is something else.
    """
    return None if text is None else _numbers("--seeds", text, "numbers such as 0,1,2")


def parse_shares(text: str) -> tuple[float, ...]:
    """``0.05,0.25,1``.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--shares takes shares of the data such as 0.05,0.25,1, got {text!r}") from error


def parse_seconds(option: str, text: str, above: float | None = None) -> float:
    """``90``, ``30s``, ``5m`` or ``1h`` → seconds, more than ``above`` of them.

    Raises:
        ConfigError: it is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if match is None:
        raise ConfigError(f"{option} takes a time such as 30s, 5m or 1h, got {text!r}")
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if above is not None and seconds <= above:
        raise ConfigError(f"{option} takes a time above {above:g}, got {text}")
    return seconds


def _numbers(option: str, text: str, expected: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        raise ConfigError(f"{option} takes {expected}, got {text!r}")
    return tuple(int(number) for number in text.split(","))
