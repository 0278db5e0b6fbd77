"""What an archive holds now, against what the catalog knows: the files to read, and those that stay as they are."""

from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path

from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.catalog import FileRecord
from pipeline.sources.opening import Opened, Openings
from pipeline.sources.walk import FoundFile, holds_only, looked_into, walk
from pipeline.volumes.store import VolumeStore

Settled = Callable[[str, int, int], bool]
"""Whether a file of this path, size and time of change is there whole, as far as can be told."""

_SHUT = "its folder cannot be opened this time"
# Files that may need another one: NIfTI pairs, and NRRD headers with data files.
_HALVES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".nhdr", ".nrrd")


class Finding:
    """The files below ``root``, members of archive files among them.

    An archive file that did not change is not opened: what is known of its members stands, until one of them must be
    read again because of another file. The same holds for a folder that cannot be opened this time.

    Args:
        root: a folder or file; what is in ``leave_out`` is no part of it.
        known: the catalog's rows below it.
        reader: the reader with its options; what another one read is read again.
        store: what was ingested must still be there.
        openings: for archive files.
        settled: asked about each file that is new or changed; one that still arrives is taken as not there yet, or as
            it was known.
    """

    def __init__(
        self,
        root: Path,
        leave_out: Path,
        known: dict[str, FileRecord],
        reader: str,
        store: VolumeStore,
        openings: Openings,
        settled: Settled | None = None,
    ) -> None:
        self._root, self._known, self._reader = root, known, reader
        self._openings = openings
        self._whole = cache(store.has)
        self.opened = Opened()
        alike = {(path, row.size, row.mtime_ns) for path, row in known.items() if path not in self._fallen}
        self.files = {str(file.path): file for file in walk(root, leave_out, alike)}
        self.arriving: dict[str, FoundFile] = {}
        self.same: set[str] = set()
        self.hold_back(path for path, file in self.files.items() if settled and _arrives(file, settled))
        self._closed = {path: self.files[path] for path in self._known_ones() if known[path].kind == "archive"}
        members = [path for path in known if self._archive_of(path) is not None or self._is_shut(path)]
        self.same = {*self._known_ones(), *members}
        self.files.update({path: self._placeholder(path) for path in members})
        self._open(file for path, file in list(self.files.items()) if file.kind == "archive" and path not in self.same)
        self.gone = [path for path in known if path not in self.files]

    @property
    def at(self) -> dict[str, str]:
        """Where the bytes of each file are."""
        return {path: str(file.location) for path, file in self.files.items()}

    def read_again(self, paths: Iterable[str]) -> None:
        """Take files off those that stay as they are; their archive files are opened for it."""
        self.same -= set(paths)
        self.reach(paths)

    def hold_back(self, paths: Iterable[str]) -> None:
        """Take files as not there yet; those that were known before, as they were."""
        for path in list(paths):
            self.arriving[path] = self.files.pop(path)
            if path in self._known:
                self.files[path] = self._placeholder(path)
                self.same.add(path)

    def directories(self) -> set[str]:
        """Unchanged DICOMDIR files: what they name may have come or gone."""
        return {path for path in self.same if self._known[path].kind == "directory"}

    def companions(self) -> set[str]:
        """Unchanged image files that a change of another file concerns, other than by their series.

        That is what was read together with it, and halves whose other half may have come or gone.
        """
        if not self.same:
            return set()
        lost = [row for path, row in self._known.items() if path not in self.same and row.kind == "image"]
        volumes = {one for row in lost for one in row.volume_ids}
        stirred = _folders_of([*(path for path in self.files if path not in self.same), *self.gone])
        return {
            path
            for path in self.same
            if (row := self._known[path]).kind == "image"
            and (volumes & {*row.volume_ids} or (_is_refused_half(row) and path.rpartition("/")[0] in stirred))
        }

    def reach(self, paths: Iterable[str]) -> None:
        """Open the archive files that hold ``paths``, so that their bytes can be read; look what kind they are of."""
        needed = {archive for path in paths if (archive := self._archive_of(path)) is not None}
        wanted = [self._closed.pop(archive) for archive in needed]
        self._open(wanted)
        for path in paths:
            self.files[path] = looked_into(self.files[path])

    def _open(self, archives: Iterable[FoundFile]) -> None:
        opened = self._openings.open(archives, self._root)
        for mine, new in (
            (self.opened.members, opened.members),
            (self.opened.refused, opened.refused),
            (self.opened.refused_members, opened.refused_members),
            (self.opened.counts, opened.counts),
        ):
            mine.update(new)  # type: ignore[arg-type]
        self.files.update(opened.members)
        self.files.update(opened.refused_members)

    @cached_property
    def _fallen(self) -> set[str]:
        """Files that are to be read again though they did not change, and the archive files that hold them."""
        paths = {path for path, row in self._known.items() if not self._stands(row)}
        return paths | {str(folder) for path in paths for folder in Path(path).parents}

    def _stands(self, row: FileRecord) -> bool:
        return _stands(row, self._reader, self._whole)

    def _known_ones(self) -> list[str]:
        return [path for path, file in self.files.items() if file.kind == "known"]

    def _archive_of(self, path: str) -> str | None:
        """The unopened archive file that holds ``path``."""
        if not self._closed:
            return None
        return next((str(one) for one in Path(path).parents if str(one) in self._closed), None)

    @cached_property
    def _shut(self) -> set[str]:
        return {path for path, file in self.files.items() if file.kind == "unreadable"}

    def _is_shut(self, path: str) -> bool:
        """Whether a file lies in a folder that cannot be opened this time: it is not gone for that."""
        return bool(self._shut) and any(str(one) in self._shut for one in Path(path).parents)

    def _placeholder(self, path: str) -> FoundFile:
        known = self._known[path]
        kind, reason = ("unreadable", _SHUT) if self._is_shut(path) else ("known", "")
        return FoundFile(Path(path), path, known.size, known.mtime_ns, kind, reason)  # type: ignore[arg-type]


def _arrives(file: FoundFile, settled: Settled) -> bool:
    return file.kind not in ("known", "unreadable") and not settled(str(file.path), file.size, file.mtime_ns)


def _folders_of(paths: Iterable[str]) -> set[str]:
    """Every folder that one of the paths lies in, at any depth."""
    folders = {path.rpartition("/")[0] for path in paths}
    return folders | {str(one) for folder in folders for one in Path(folder).parents}


def _is_refused_half(row: FileRecord) -> bool:
    return row.outcome == "quarantined" and row.path.lower().endswith(_HALVES)


def is_as_known(root: Path, leave_out: Path, known: dict[str, FileRecord], reader: str, store: VolumeStore) -> bool:
    """Whether everything below ``root`` is as the catalog has it: most nights' answer, and a quick one."""
    whole = cache(store.has)
    if not all(_stands(row, reader, whole) for row in known.values()):
        return False
    archives = {path for path, row in known.items() if row.kind == "archive"}
    alike = {
        (path, row.size, row.mtime_ns)
        for path, row in known.items()
        if not archives or not any(str(folder) in archives for folder in Path(path).parents)
    }
    return holds_only(root, leave_out, alike) == len(alike)


def _stands(row: FileRecord, reader: str, whole: Callable[[str], bool]) -> bool:
    """Whether what became of a file is still there, and was made by the reader of today."""
    return row.reader == reader and (row.kind != "image" or all(whole(one) for one in row.volume_ids))


def is_label_map(file: FoundFile) -> bool:
    return file.kind in ("nifti", "nrrd", "picture", "tiff") and label_rule(str(file.path)) is not None


def is_image(file: FoundFile) -> bool:
    return file.kind in ("nifti", "nrrd", "picture", "tiff") and not is_label_map(file)
