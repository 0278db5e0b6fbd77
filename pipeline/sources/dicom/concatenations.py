"""Objects that were written as several files: the instances of a concatenation, in order (PS3.3 C.7.6.16.2.2.4)."""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from pipeline.errors import SourceError
from pipeline.sources.dicom.frames import FrameFile
from pipeline.sources.dicom.header import text, whole_number


@dataclass(frozen=True, eq=False)
class JoinedFrames:
    """The frames of one object, numbered from 0 across its files; ``copies`` are files that hold the same again."""

    files: tuple[FrameFile, ...]
    copies: tuple[Path, ...] = ()

    @property
    def dataset(self) -> FileDataset:
        """The header of the first file, which states what holds for the whole object."""
        return self.files[0].dataset

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(str(file.path) for file in self.files)

    @cached_property
    def count(self) -> int:
        return sum(file.count for file in self.files)

    def read(self, number: int) -> np.ndarray | None:
        """Stored values of one frame, see `FrameFile.read`."""
        place = bisect_right(self._starts, number) - 1
        return self.files[place].read(number - self._starts[place])

    def is_empty(self, number: int) -> bool:
        """Whether the file holds an empty item in the frame's place."""
        place = bisect_right(self._starts, number) - 1
        return self.files[place].is_empty(number - self._starts[place])

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(file.count for file in self.files[:-1])]


def by_concatenation(files: list[FrameFile]) -> list[list[FrameFile]]:
    """Files that belong together, in the order of their first file; a file without ConcatenationUID stands alone."""
    groups: dict[str, list[FrameFile]] = defaultdict(list)
    for file in files:
        name = text(file.dataset, "ConcatenationUID") or text(file.dataset, "SOPInstanceUID")
        groups[name].append(file)
    return list(groups.values())


def join(files: list[FrameFile]) -> JoinedFrames:
    """Files of one concatenation (or copies of one file) as one object.

    Raises:
        SourceError: a part is missing, is there twice and differs, or does not fit the others.
    """
    unique, copies = _without_copies(files)
    if len(unique) == 1 and not text(unique[0].dataset, "ConcatenationUID"):
        return JoinedFrames((unique[0],), copies)
    parts = {whole_number(file.dataset, "InConcatenationNumber"): file for file in unique}
    if len(parts) != len(unique):
        raise SourceError(f"{len(unique)} different parts of a concatenation have {len(parts)} numbers")
    total = max(whole_number(file.dataset, "InConcatenationTotalNumber", 0) for file in unique)
    missing = sorted(set(range(1, max(total, *parts) + 1)) - set(parts))
    if missing or min(parts) < 1:
        raise SourceError(
            f"a concatenation of {max(total, *parts)} parts has {len(parts)} of them: "
            f"missing {', '.join(map(str, missing[:8]))}"
        )
    ordered = tuple(parts[number] for number in sorted(parts))
    _check_fit(ordered)
    return JoinedFrames(ordered, copies)


def _without_copies(files: list[FrameFile]) -> tuple[list[FrameFile], tuple[Path, ...]]:
    first: dict[str, FrameFile] = {}
    copies = []
    for file in files:
        kept = first.setdefault(text(file.dataset, "SOPInstanceUID"), file)
        if kept is file:
            continue
        if _digest(kept.path) != _digest(file.path):
            raise SourceError("two files with one SOPInstanceUID differ")
        copies.append(file.path)
    return list(first.values()), tuple(copies)


def _check_fit(files: tuple[FrameFile, ...]) -> None:
    offset = 0
    for number, file in enumerate(files, 1):
        stated = whole_number(file.dataset, "ConcatenationFrameOffsetNumber", offset)
        if stated != offset:
            raise SourceError(f"part {number} of a concatenation must start at frame {offset}, got {stated}")
        if file.matrix != files[0].matrix:
            raise SourceError(f"parts of a concatenation must share a matrix, got {file.matrix} and {files[0].matrix}")
        offset += file.count


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
