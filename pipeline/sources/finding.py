"""What an archive holds now, against what the catalog knows: the files to read, and those that stay as they are."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.catalog import FileRecord, ItemKind
from pipeline.sources.opening import Opened, Openings
from pipeline.sources.walk import FoundFile, walk
from pipeline.volumes.store import VolumeStore


class Finding:
    """The files below ``root``, members of archive files among them.

    An archive file that did not change is not opened: what is known of its members stands, until one of them must be
    read again because of another file.

    Args:
        root: a folder or file; what is in ``leave_out`` is no part of it.
        known: the catalog's rows below it.
        reader: the reader with its options; what another one read is read again.
        store: what was ingested must still be there.
        openings: for archive files.
    """

    def __init__(
        self,
        root: Path,
        leave_out: Path,
        known: dict[str, FileRecord],
        reader: str,
        store: VolumeStore,
        openings: Openings,
    ) -> None:
        self._root, self._known, self._reader = root, known, reader
        self._openings = openings
        self._whole = cache(store.has)
        self.opened = Opened()
        self.files = {str(file.path): file for file in walk(root, leave_out)}
        self._closed = {
            path: file for path, file in self.files.items() if file.kind == "archive" and self._is_same(path, file)
        }
        members = [path for path in known if self._archive_of(path) is not None]
        self.same = {path for path, file in self.files.items() if self._is_same(path, file)} | set(members)
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

    def reach(self, paths: Iterable[str]) -> None:
        """Open the archive files that hold ``paths``, so that their bytes can be read."""
        needed = {archive for path in paths if (archive := self._archive_of(path)) is not None}
        wanted = [self._closed.pop(archive) for archive in needed]
        self._open(wanted)

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

    def _is_same(self, path: str, file: FoundFile) -> bool:
        known = self._known.get(path)
        return (
            known is not None
            and (known.size, known.mtime_ns, known.reader) == (file.size, file.mtime_ns, self._reader)
            and known.kind in roles(file)
            and (known.kind != "image" or all(self._whole(one) for one in known.volume_ids))
        )

    def _archive_of(self, path: str) -> str | None:
        """The unopened archive file that holds ``path``."""
        if not self._closed:
            return None
        return next((str(one) for one in Path(path).parents if str(one) in self._closed), None)

    def _placeholder(self, path: str) -> FoundFile:
        known = self._known[path]
        return FoundFile(Path(path), path, known.size, known.mtime_ns, "other", known.reason)


def roles(file: FoundFile) -> tuple[ItemKind, ...]:
    """What a file may be in the catalog; DICOM files tell only when they are read."""
    if file.kind == "dicom":
        return ("image", "annotation", "directory")
    if file.kind in ("other", "archive"):
        return (file.kind,)
    return ("annotation",) if file.kind == "table" or is_label_map(file) else ("image",)


def is_label_map(file: FoundFile) -> bool:
    return file.kind in ("nifti", "nrrd", "picture", "tiff") and label_rule(str(file.path)) is not None


def is_image(file: FoundFile) -> bool:
    return file.kind in ("nifti", "nrrd", "picture", "tiff") and not is_label_map(file)
