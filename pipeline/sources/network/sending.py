"""Files → a server, each once: what was stored is noted, so that a run that was killed goes on where it was."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from pipeline.errors import SourceError
from pipeline.sources.network.answers import Answer, Outcome
from pipeline.sources.network.dicomweb import Access, DicomWeb
from pipeline.sources.network.storing import StoreUser

Progress = Callable[[int, int, str], None]


class Destination(Protocol):
    """Where instances are stored."""

    def store(self, path: Path) -> Answer: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Sent:
    """What became of one file. ``before``: a former run had stored it, and nothing was sent."""

    path: str
    outcome: Outcome
    reason: str = ""
    before: bool = False


def destination(address: str, access: Access) -> Destination:
    """The server at ``https://…/dicom-web`` or ``dicom://AET@host:port``.

    Raises:
        SourceError: the address is of neither kind.
    """
    if address.startswith(("dicom://", "dicoms://")):
        return StoreUser(address, access)
    return DicomWeb(address, access)


def send(
    files: Iterable[Path], address: str, to: Destination, home: Path, progress: Progress | None = None
) -> list[Sent]:
    """Store every file, and note each that was. One that fails does not end the run; the next one tries it again.

    Args:
        files: DICOM files with preamble.
        address: names the ledger of what was stored there.
        to: the server.
        home: holds the ledgers.
        progress: called after each file.
    """
    ledger = _Ledger(home / "sent" / f"{hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:16]}.jsonl")
    listed = list(files)
    found = []
    with FileLock(f"{ledger.path}.lock"):
        known = ledger.read()
        for number, path in enumerate(listed, start=1):
            found.append(_sent(path, to, ledger, known))
            if progress:
                progress(number, len(listed), "instances sent")
    return found


def _sent(path: Path, to: Destination, ledger: "_Ledger", known: set[str]) -> Sent:
    with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    if content in known:
        return Sent(str(path), "stored", before=True)
    try:
        answer = to.store(path)
    except SourceError as error:
        return Sent(str(path), "failed", str(error))
    if answer.outcome != "failed":
        ledger.note(content, answer.outcome)
        known.add(content)
    return Sent(str(path), answer.outcome, answer.reason)


class _Ledger:
    """A line for each file that is stored, by the digest of its bytes: nothing in it names a patient or a scan."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> set[str]:
        """What is there; a last line that a kill cut short does not count."""
        if not self.path.is_file():
            return set()
        known = set()
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                known.add(str(json.loads(line)["content"]))
            except (ValueError, KeyError, TypeError):
                continue
        return known

    def note(self, content: str, outcome: Outcome) -> None:
        with self.path.open("ab") as stream:
            # Begun on a line of its own, whatever was left before.
            stream.write(b"\n" + json.dumps({"content": content, "outcome": outcome}).encode())
            stream.flush()
            os.fsync(stream.fileno())
