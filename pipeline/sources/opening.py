"""Archive files (zip, tar) opened for the time of one ingest: their members become files like others."""

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.sources.archives.limits import UnpackLimits
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.decoding.jobs import Reply
from pipeline.sources.walk import FoundFile, kind_of

# An archive in an archive in an archive is opened; what lies deeper is not.
DEEPEST = 3
_GROWS = (
    "the archives in this archive file grow too much together: it may be a decompression bomb; if it is meant so, "
    "unpack it and ingest the folder"
)
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
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        self._lock = FileLock(f"{self._own}.lock")
        self._lock.acquire()

    def close(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def open(self, files: Iterable[FoundFile], root: Path) -> Opened:
        """Unpack archive files, and those that lie in them.

        Args:
            files: of kind ``archive``.
            root: what catalog paths are relative to.
        """
        opened = Opened()
        level = list(files)
        budget = _Budget(level)
        for depth in range(1, DEEPEST + 2):
            if depth > DEEPEST:
                opened.refused.update({str(file.path): _TOO_DEEP for file in level})
                break
            level = self._one_level(level, root, opened, budget)
        return opened

    def _one_level(self, files: list[FoundFile], root: Path, opened: Opened, budget: "_Budget") -> list[FoundFile]:
        inner: list[FoundFile] = []
        for archive, reply in self._unpacked(files, budget):
            if "error" in reply:
                opened.refused[str(archive.path)] = reply["message"]
                continue
            members = [_member(archive, root, *one) for one in reply["members"]]
            budget.spend(archive, sum(member.size for member in members))
            opened.counts[str(archive.path)] = len(members) + len(reply["refused"])
            opened.members.update({str(member.path): member for member in members})
            for relative, reason in reply["refused"]:
                member = _member(archive, root, relative, None, 0)
                opened.refused[str(member.path)] = reason
                opened.refused_members[str(member.path)] = member
            inner += [member for member in members if member.kind == "archive"]
        return inner

    def _unpacked(self, files: list[FoundFile], budget: "_Budget") -> Iterator[tuple[FoundFile, Reply]]:
        """Archives in archives one by one, so that each is told how much room the ones before it left."""
        within = [file for file in files if file.unpacked is not None]
        outer = [file for file in files if file.unpacked is None]
        jobs = [{"job": "unpack", "paths": [str(file.location)], "out": str(self._place())} for file in outer]
        for file, (_, reply) in zip(outer, self._decoders.run(jobs), strict=True):
            yield file, reply
        for file in within:
            left = budget.left(file)
            if left <= 0:
                yield file, {"error": "SourceError", "message": _GROWS}
                continue
            job = {"job": "unpack", "paths": [str(file.location)], "out": str(self._place())}
            yield file, self._decoders.one({**job, "limits": {"total_bytes": left}})

    def _place(self) -> Path:
        return self._own / uuid.uuid4().hex


class _Budget:
    """How much all archives in one archive file may come to together: else each level multiplies the last one's ratio.

    The ratio and the size from which it counts are those of a single archive (`UnpackLimits`).
    """

    def __init__(self, files: Iterable[FoundFile]) -> None:
        limits = UnpackLimits()
        self._left = {str(file.path): max(limits.ratio_from_bytes, int(limits.ratio * file.size)) for file in files}

    def left(self, file: FoundFile) -> int:
        return self._left.get(self._outermost(file), 0)

    def spend(self, file: FoundFile, count: int) -> None:
        self._left[self._outermost(file)] = self.left(file) - count

    def _outermost(self, file: FoundFile) -> str:
        return next((str(one) for one in (file.path, *file.path.parents) if str(one) in self._left), "")


def _member(archive: FoundFile, root: Path, relative: str, location: str | None, size: int) -> FoundFile:
    path = archive.path / relative
    kind, reason = kind_of(Path(location), path.name) if location else ("other", "")
    below = path.relative_to(root).as_posix() if path.is_relative_to(root) else relative
    return FoundFile(path, below, size, archive.mtime_ns, kind, reason, Path(location) if location else None)


def _sweep(folder: Path) -> None:
    """Remove what killed runs left: a folder whose lock nobody holds."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError, Timeout), FileLock(path, blocking=False):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
