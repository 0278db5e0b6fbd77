"""What became of each file so far: kept in the home folder, since it holds the sources' names."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

Outcome = Literal["written", "copy", "refused", "quarantined", "ignored"]
_FIELDS = ("path", "size", "mtime_ns", "outcome", "reason", "summary", "output", "patient", "study", "series")
_SCHEMA = """
create table if not exists patterns (id integer primary key, counts text unique not null);
create table if not exists files (
    path text primary key, size integer not null, mtime_ns integer not null, outcome text not null,
    reason text not null, summary text not null, output text not null, patient text not null, study text not null,
    series text not null, flags text not null, pattern integer
);
"""


@dataclass(frozen=True)
class FileResult:
    """What became of one file; ``path`` is absolute, ``output`` relative to the output folder.

    ``summary`` stands for the reason in reports, where the reason may name something of the source.
    """

    path: str
    size: int
    mtime_ns: int
    outcome: Outcome
    reason: str = ""
    summary: str = ""
    output: str = ""
    patient: str = ""
    study: str = ""
    series: str = ""
    flags: tuple[str, ...] = ()
    counts: tuple[tuple[str, str, str, int], ...] = ()


@dataclass(frozen=True)
class Stamp:
    """What tells whether a file has to be done again."""

    size: int
    mtime_ns: int
    outcome: Outcome
    output: str


class Ledger:
    """Results by path, in SQLite. Use it as a context manager.

    The slices of a series are treated alike, so that equal counts are kept once.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=60.0)
        self._database.execute("pragma journal_mode = wal")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def stamps(self) -> dict[str, Stamp]:
        """Stamps by path."""
        rows = self._database.execute("select path, size, mtime_ns, outcome, output from files")
        return {path: Stamp(*values) for path, *values in rows}

    def save(self, results: Iterable[FileResult]) -> None:
        """In one transaction; what is there of a path is replaced."""
        with self._database:
            for one in results:
                row = (*(getattr(one, name) for name in _FIELDS), json.dumps(one.flags), self._pattern(one))
                self._database.execute(f"replace into files values ({','.join('?' * len(row))})", row)

    def forget(self, paths: Iterable[str]) -> None:
        with self._database:
            self._database.executemany("delete from files where path = ?", ((path,) for path in paths))

    def results(self) -> Iterator[FileResult]:
        """Every result, by path, without its counts."""
        for row in self._database.execute(f"select {', '.join(_FIELDS)}, flags from files order by path"):
            yield FileResult(**dict(zip(_FIELDS, row[:-1], strict=True)), flags=tuple(json.loads(row[-1])))

    def counts(self, study: str) -> Counter[tuple[str, str, str]]:
        """How often what was done to which attribute, over the written files of one study."""
        rows = self._database.execute(
            "select counts, count(*) from files join patterns on pattern = id"
            " where study = ? and outcome = 'written' group by id",
            (study,),
        )
        total: Counter[tuple[str, str, str]] = Counter()
        for text, files in rows:
            for tag, keyword, done, count in json.loads(text):
                total[tag, keyword, done] += count * files
        return total

    def _pattern(self, result: FileResult) -> int | None:
        if not result.counts:
            return None
        text = json.dumps(result.counts)
        self._database.execute("insert or ignore into patterns (counts) values (?)", (text,))
        return int(self._database.execute("select id from patterns where counts = ?", (text,)).fetchone()[0])
