"""The text of annotation files: bounded, UTF-8, and JSON parsed once for both its format and its content."""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import AnnotationError

TEXT_BYTES = 256 << 20
LARGEST_VALUE = 1e9


def read_text(path: Path) -> str:
    """The whole file as UTF-8 text.

    Raises:
        AnnotationError: too large, not UTF-8, or it cannot be opened.
    """
    try:
        if path.stat().st_size > TEXT_BYTES:
            raise AnnotationError(f"the file has more than {TEXT_BYTES >> 20} MiB of text")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError("the file is not UTF-8 text") from error
    except OSError as error:
        raise AnnotationError(f"the file cannot be opened ({type(error).__name__})") from error


def read_json(path: Path) -> Any:
    """The JSON document at ``path``; the last one is kept, so that finding its format does not parse it twice.

    Raises:
        AnnotationError: not well-formed JSON.
    """
    status = path.stat()
    return _json(path, status.st_size, status.st_mtime_ns)


def read_rows(path: Path, comment: str = "") -> tuple[list[str], list[dict[str, str]]]:
    """Columns (lower case) and rows of a CSV file; ``comment`` starts lines that are left out.

    Raises:
        AnnotationError: not well-formed, or a line with another number of columns than the header.
    """
    lines = read_text(path).splitlines()
    if comment:
        lines = [line for line in lines if not line.startswith(comment)]
    try:
        reader = csv.reader(lines, strict=True)
        header = next(reader, [])
        columns = [name.strip().lower() for name in header]
        rows = list(_rows(reader, columns))
    except csv.Error as error:
        raise AnnotationError("the table is not well-formed CSV") from error
    return columns, rows


def csv_columns(path: Path) -> list[str]:
    """The header of a CSV file, lower case; empty where the first line is none."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(1 << 16)
    try:
        return [name.strip().lower() for name in next(csv.reader([first], strict=True), [])]
    except csv.Error:
        return []


def numbers(values: Any, what: str, count: int | None = None) -> list[float]:
    """``values`` as finite numbers.

    Args:
        values: from JSON, CSV or XML.
        what: named in the message.
        count: how many there must be.

    Raises:
        AnnotationError: another number of values, or one that is no finite number.
    """
    expected = f"expected {count if count is not None else 'a list of'} finite numbers as {what!r}"
    try:
        taken = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise AnnotationError(expected) from error
    if (count is not None and len(taken) != count) or any(isinstance(value, bool) for value in values):
        raise AnnotationError(expected)
    if any(not math.isfinite(value) or abs(value) > LARGEST_VALUE for value in taken):
        raise AnnotationError(expected)
    return taken


def _rows(reader: Iterable[list[str]], columns: list[str]) -> Iterator[dict[str, str]]:
    for number, values in enumerate(reader, start=2):
        if not values:
            continue
        if len(values) != len(columns):
            raise AnnotationError(f"line {number} has another number of columns than the header ({len(columns)})")
        yield dict(zip(columns, values, strict=True))


@lru_cache(maxsize=1)
def _json(path: Path, size: int, mtime_ns: int) -> Any:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError("the file is not well-formed JSON") from error
