"""The files to de-identify: of folders, and of archive files (zip, tar), which are opened when they are new."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.sources.deidentification.ledger import Stamp
from pipeline.sources.opening import Openings
from pipeline.sources.walk import FoundFile, walk


@dataclass
class Found:
    """``files`` by absolute path, members of opened archive files among them.

    ``known`` are members of archive files that were not opened, since everything in them is done; ``refused`` are the
    reasons for archive files and members that cannot be taken; ``opened`` counts the members of the others.
    """

    files: dict[str, FoundFile]
    known: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)


def find(
    root: Path,
    home: Path,
    stamps: dict[str, Stamp],
    is_done: Callable[[FoundFile, Stamp | None], bool],
    openings: Openings,
) -> Found:
    """Everything below ``root`` but ``home``; ``stamps`` and ``is_done`` tell what was done before."""
    found = Found({str(file.path): file for file in walk(root, home)})
    fresh = []
    for path, file in list(found.files.items()):
        if file.kind != "archive":
            continue
        members = [one for one in stamps if one.startswith(f"{path}/")]
        if is_done(file, stamps.get(path)) and all(is_done(_as_was(one, stamps), stamps[one]) for one in members):
            found.known.update({one: Path(one).relative_to(_base(root)).as_posix() for one in members})
        else:
            fresh.append(file)
    opened = openings.open(fresh, _base(root))
    found.files.update(opened.members)
    found.files.update(opened.refused_members)
    found.refused, found.opened = opened.refused, opened.counts
    return found


def _base(root: Path) -> Path:
    return root.parent if root.is_file() else root


def _as_was(path: str, stamps: dict[str, Stamp]) -> FoundFile:
    """A member of an archive file that did not change."""
    return FoundFile(Path(path), "", stamps[path].size, stamps[path].mtime_ns, "other")
