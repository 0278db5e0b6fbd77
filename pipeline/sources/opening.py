"""Archive files (zip, tar) opened for the time of one ingest: their members become files like others."""

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.walk import FoundFile, kind_of

# An archive in an archive in an archive is opened; what lies deeper is not.
DEEPEST = 3
_LEFTOVER_SECONDS = 24 * 3600.0
_TOO_DEEP = f"an archive file more than {DEEPEST} archives deep is not opened: unpack it and ingest the folder"


@dataclass
class Opened:
    """What came out of archive files: members by catalog path, and what could not be taken, with its reason.

    ``members`` holds the members of members too; ``refused`` the archives that were refused as a whole and single
    members; ``counts`` how many members an archive file itself has.
    """

    members: dict[str, FoundFile] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    refused_members: dict[str, FoundFile] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


class Openings:
    """Unpacks below ``folder`` (in cellscan's home); nothing stays there when it is closed."""

    def __init__(self, folder: Path, decoders: Decoders) -> None:
        self._folder = folder
        self._decoders = decoders
        self._own = folder / uuid.uuid4().hex
        _sweep(folder)

    def close(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)

    def open(self, files: Iterable[FoundFile], root: Path) -> Opened:
        """Unpack archive files, and those that lie in them.

        Args:
            files: of kind ``archive``.
            root: what catalog paths are relative to.
        """
        opened = Opened()
        level = list(files)
        for depth in range(1, DEEPEST + 2):
            if depth > DEEPEST:
                opened.refused.update({str(file.path): _TOO_DEEP for file in level})
                break
            level = self._one_level(level, root, opened)
        return opened

    def _one_level(self, files: list[FoundFile], root: Path, opened: Opened) -> list[FoundFile]:
        by_location = {str(file.location): file for file in files}
        jobs = [{"job": "unpack", "paths": [where], "out": str(self._place())} for where in by_location]
        inner: list[FoundFile] = []
        for job, reply in self._decoders.run(jobs):
            archive = by_location[job["paths"][0]]
            if "error" in reply:
                opened.refused[str(archive.path)] = reply["message"]
                continue
            members = [_member(archive, root, *one) for one in reply["members"]]
            opened.counts[str(archive.path)] = len(members) + len(reply["refused"])
            opened.members.update({str(member.path): member for member in members})
            for relative, reason in reply["refused"]:
                member = _member(archive, root, relative, None, 0)
                opened.refused[str(member.path)] = reason
                opened.refused_members[str(member.path)] = member
            inner += [member for member in members if member.kind == "archive"]
        return inner

    def _place(self) -> Path:
        return self._own / uuid.uuid4().hex


def _member(archive: FoundFile, root: Path, relative: str, location: str | None, size: int) -> FoundFile:
    path = archive.path / relative
    kind, reason = kind_of(Path(location), path.name) if location else ("other", "")
    below = path.relative_to(root).as_posix() if path.is_relative_to(root) else relative
    return FoundFile(path, below, size, archive.mtime_ns, kind, reason, Path(location) if location else None)


def _sweep(folder: Path) -> None:
    """Remove what killed runs left; a day old, so that no running one is disturbed."""
    oldest = time.time() - _LEFTOVER_SECONDS
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path)
