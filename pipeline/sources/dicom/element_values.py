"""The bytes of a header element → its value, as pydicom gives it (PS3.5 6.2)."""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any


class HandOver(Exception):
    """The file is not of the usual kind: pydicom reads it."""


class Decimal(str):
    """A number as the header writes it; shown in a list as pydicom shows it."""

    __slots__ = ()
    __repr__ = str.__str__


def _codes(raw: bytes) -> Any:
    items = raw.decode("latin-1").rstrip(" \0").split("\\")
    return items[0] if len(items) == 1 else items


def _uids(raw: bytes) -> Any:
    found = _codes(raw)
    return found.strip() if isinstance(found, str) else [item.strip() for item in found]


def _words(raw: bytes) -> Any:
    if not raw.isascii() or b"\x1b" in raw:
        raise HandOver("text in another character set")
    items = [item.rstrip("\0 ") for item in raw.decode("ascii").split("\\")]
    return items[0] if len(items) == 1 else items


def _decimals(raw: bytes) -> Any:
    text = raw.decode("latin-1").strip().rstrip(" \0")
    if not text:
        return ""
    items = [Decimal(item.strip()) for item in text.split("\\")]
    _check_finite(items)
    return items[0] if len(items) == 1 else items


def _check_finite(items: Iterable[str]) -> None:
    try:
        if all(abs(float(item)) < float("inf") for item in items):
            return
    except ValueError:
        pass
    raise HandOver("a number that is none")


def _binary(code: str, width: int) -> Callable[[bytes], Any]:
    def convert(raw: bytes) -> Any:
        if len(raw) % width:
            raise HandOver("a value whose length does not fit its representation")
        numbers = Struct(f"<{len(raw) // width}{code}").unpack(raw)
        return numbers[0] if len(numbers) == 1 else list(numbers)

    return convert


CONVERTERS: dict[str, Callable[[bytes], Any]] = {
    "CS": _codes,
    "DA": _codes,
    "TM": _codes,
    "DT": _codes,
    "UI": _uids,
    "LO": _words,
    "SH": _words,
    "DS": _decimals,
    "IS": _decimals,
    "US": _binary("H", 2),
    "UL": _binary("L", 4),
    "FL": _binary("f", 4),
    "FD": _binary("d", 8),
}
