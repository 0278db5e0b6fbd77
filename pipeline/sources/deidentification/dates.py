"""Dates and times as DICOM writes them (PS3.5 6.2): told from other text, and moved."""

import re
from datetime import date, timedelta

DUMMIES = {"DA": "20000101", "TM": "000000", "DT": "20000101000000"}
# ACR-NEMA wrote dots between the parts of a date.
_DATE = re.compile(r"(\d{4})(\.?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"[+-]\d{4}")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?)")


def is_offset(text: str) -> bool:
    """Whether ``text`` is an offset from UTC (PS3.3 C.12.1.1.8), and so no other text."""
    return _OFFSET.fullmatch(text.strip(" \0")) is not None


def moved(vr: str, text: str, days: int) -> str | None:
    """``text`` moved into the past by whole days, as precise as it was; `None` if it is no date or time.

    Times of day stay. A date and time without its day moves as the 15th, without its month as the 1st of July.
    """
    text = text.strip(" \0")
    if vr == "TM":
        return text if _TIME.fullmatch(text) else None
    match = (_DATE if vr == "DA" else _DATE_TIME).fullmatch(text)
    if match is None:
        return None
    if vr == "DA":
        year, _, month, day = match.groups()
        return _written(year, month, day, days)
    year, month, day, rest = match.groups()
    if rest and day is None and not rest.startswith(("+", "-")):
        return None
    written = _written(year, month or "07", day or ("15" if month else "01"), days)
    digits = 8 if day else 6 if month else 4
    return None if written is None else written[:digits] + rest


def _written(year: str, month: str, day: str, days: int) -> str | None:
    try:
        then = date(int(year), int(month), int(day)) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{then.year:04d}{then.month:02d}{then.day:02d}"
