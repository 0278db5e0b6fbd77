"""What lies in a folder, and of which kind each file is by its first bytes."""

import hashlib
import os
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.errors import SourceError
from pipeline.sources.streams import archive_format

FileKind = Literal["dicom", "nifti", "nrrd", "picture", "tiff", "table", "archive", "other", "unreadable", "known"]
Known = Set[tuple[str, int, int]]
_Entry = os.DirEntry[str] | Path | OSError

_HEAD_BYTES = 512
_PICTURE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_TIFF_SUFFIXES = (".tif", ".tiff", ".svs")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_PAIR_SUFFIXES = (".hdr", ".img", ".hdr.gz", ".img.gz")
_NRRD_SUFFIXES = (".nrrd", ".nhdr")
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_TABLE_SUFFIXES = (".csv", ".json", ".geojson", ".xml", ".fcsv")
# By name too: many formats are zip files inside (.docx, .npz, .jar), and nobody expects scans in those.
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_CLOSED_SUFFIXES = (".7z", ".rar")
# How a DICOM data set without preamble starts (ACR-NEMA, some exports): the first elements of groups 2 and 8.
_BARE_DICOM = tuple(
    bytes(head) for head in ((8, 0, 0, 0), (8, 0, 1, 0), (8, 0, 5, 0), (8, 0, 8, 0), (8, 0, 0x16, 0), (2, 0, 0, 0))
)
_NO_KIND = "not a kind of file that cellscan reads (DICOM, NIfTI, NRRD, PNG, JPEG, TIFF, zip, tar)"


@dataclass(frozen=True)
class FoundFile:
    """A file below ``root``.

    ``path`` is absolute and names the file in the catalog; ``relative`` is POSIX style. ``location`` is where its bytes
    are: the same, but for a member of an archive file, which lies unpacked elsewhere while it is read. ``kind`` is
    ``known`` for a file that is as it was and was not looked into, and ``unreadable`` for a file, or a folder, that
    could not be opened this time.
    """

    path: Path
    relative: str
    size: int
    mtime_ns: int
    kind: FileKind
    reason: str = ""
    unpacked: Path | None = None

    @property
    def location(self) -> Path:
        return self.unpacked or self.path


def archive_root(path: Path) -> Path:
    """The folder or file that is meant by ``path``, resolved: a DICOMDIR stands for its folder."""
    resolved = path.expanduser().resolve()
    return resolved.parent if resolved.is_file() and resolved.name.upper() == "DICOMDIR" else resolved


def walk(root: Path, leave_out: Path | None = None, known: Known = frozenset()) -> list[FoundFile]:
    """Every file below ``root`` (or ``root`` itself), in a stable order; links to folders are not followed.

    Args:
        root: folder or file.
        leave_out: a folder below ``root`` that is no part of the archive (cellscan's own home).
        known: path, size and time of change of files that need not be looked into: their kind is ``known``.

    Raises:
        SourceError: there is nothing at ``root``, or it is a folder that cannot be opened.
    """
    if root.is_file():
        return [_found(str(root), root.name, root, known)]
    if not root.is_dir():
        raise SourceError(f"expected a folder or a file to read, found nothing at {root}")
    cut = len(str(root).rstrip("/")) + 1
    found = []
    for path, entry in _entries(str(root), str(leave_out)):
        if isinstance(entry, OSError) and path == str(root):
            raise SourceError(f"the folder cannot be opened ({type(entry).__name__})")
        found.append(_found(path, path[cut:], entry, known))
    return found


def holds_only(root: Path, leave_out: Path, known: Known) -> int | None:
    """How many files lie below ``root``, if each of them is as ``known`` says; else `None`."""
    if not root.is_dir():
        return None
    count = 0
    for path, entry in _entries(str(root), str(leave_out)):
        if isinstance(entry, OSError):
            return None
        try:
            status = entry.stat()
        except OSError:
            return None
        if (path, status.st_size, status.st_mtime_ns) not in known:
            return None
        count += 1
    return count


def fingerprint(root: Path, leave_out: Path | None = None) -> str:
    """A digest of paths, sizes and times of change of all files below ``root`` (or of ``root`` itself).

    What cannot be opened counts as such. No file is opened, and nothing is kept in memory.

    Raises:
        SourceError: there is nothing at ``root``, or it is a folder that cannot be opened.
    """
    total = hashlib.blake2b(digest_size=16)
    for path, size, mtime_ns in sizes(root, leave_out):
        total.update(f"{size} {mtime_ns} ".encode() + os.fsencode(path) + b"\0")
    return total.hexdigest()


def sizes(root: Path, leave_out: Path | None = None) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of change of every file below ``root`` (or of ``root`` itself); -1 where it does not say.

    Raises:
        SourceError: there is nothing at ``root``, or it is a folder that cannot be opened.
    """
    if not root.exists():
        raise SourceError(f"expected a folder or a file to read, found nothing at {root}")
    entries: Iterator[tuple[str, _Entry]] = iter([(str(root), root)])
    for path, entry in entries if root.is_file() else _entries(str(root), str(leave_out)):
        if isinstance(entry, OSError) and path == str(root):
            raise SourceError(f"the folder cannot be opened ({type(entry).__name__})")
        yield path, *_size(entry)


def looked_into(file: FoundFile) -> FoundFile:
    """The same file with its kind, where that was left open."""
    if file.kind != "known":
        return file
    kind, reason = kind_of(file.location, file.path.name)
    return replace(file, kind=kind, reason=reason)


def _size(entry: _Entry) -> tuple[int, int]:
    if isinstance(entry, OSError):
        return -1, -1
    try:
        status = entry.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _found(path: str, relative: str, entry: _Entry, known: Known) -> FoundFile:
    """What one file is. It is not read beyond its first bytes."""
    if isinstance(entry, OSError):
        reason = f"a folder that cannot be opened ({type(entry).__name__}): what is known of its files stands"
        return FoundFile(Path(path), relative, 0, 0, "unreadable", reason)
    try:
        status = entry.stat()
    except OSError as error:
        told: FileKind = "other" if isinstance(error, FileNotFoundError) else "unreadable"  # a link to nowhere
        return FoundFile(Path(path), relative, 0, 0, told, f"cannot be opened ({type(error).__name__})")
    if not stat.S_ISREG(status.st_mode):
        reason = "not a regular file; links are not followed"
        return FoundFile(Path(path), relative, 0, status.st_mtime_ns, "other", reason)
    kind: FileKind = "known"
    reason = ""
    if (path, status.st_size, status.st_mtime_ns) not in known:
        kind, reason = kind_of(path, entry.name)
    return FoundFile(Path(path), relative, status.st_size, status.st_mtime_ns, kind, reason)


def kind_of(location: Path | str, name: str) -> tuple[FileKind, str]:
    """The kind of the bytes at ``location``, of a file that is called ``name``; and why it is ``other``."""
    try:
        with open(location, "rb", buffering=0) as stream:  # noqa: PTH123 - a Path costs as much as the reading
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        return "unreadable", f"cannot be opened ({type(error).__name__})"
    return _kind(head, name.lower())


def stem(relative: str) -> str:
    """The file's name without its image suffix: ``a/b.nii.gz`` → ``b``."""
    name = relative.rsplit("/", 1)[-1]
    lowered = name.lower()
    suffixes = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img", ".seg.nrrd", *_NRRD_SUFFIXES)
    for suffix in (*suffixes, *_PICTURE_SUFFIXES, ".ome.tif", ".ome.tiff", *_TIFF_SUFFIXES, *_DICOM_SUFFIXES):
        if lowered.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _entries(folder: str, leave_out: str) -> Iterator[tuple[str, os.DirEntry[str] | OSError]]:
    """Files, links to folders as what they are, and folders that cannot be opened with the error.

    A folder's own files come before those of its folders.
    """
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        yield folder, error
        return
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    yield from ((entry.path, entry) for entry in entries if not entry.is_dir(follow_symlinks=False))
    for entry in folders:
        if entry.path != leave_out:
            yield from _entries(entry.path, leave_out)


def _kind(head: bytes, name: str) -> tuple[FileKind, str]:
    if name.endswith(_NIFTI_SUFFIXES) or name.endswith(_PAIR_SUFFIXES):
        return "nifti", ""
    if head[128:132] == b"DICM" or name.endswith(_DICOM_SUFFIXES):
        return "dicom", ""
    if head.startswith(b"NRRD000") or name.endswith(_NRRD_SUFFIXES):
        return "nrrd", ""
    if head.startswith(_PICTURE_MAGIC) or name.endswith(_PICTURE_SUFFIXES):
        return "picture", ""
    if head.startswith(_TIFF_MAGIC) or name.endswith(_TIFF_SUFFIXES):
        return "tiff", ""
    if name.endswith(_TABLE_SUFFIXES):
        return "table", ""
    if name.endswith(_ARCHIVE_SUFFIXES) or (archive_format(head) in ("zip", "tar") and "." not in name):
        return "archive", ""
    if name.endswith(_CLOSED_SUFFIXES):
        return "other", "this kind of archive file is not opened: unpack it and ingest the folder"
    if head.startswith(_BARE_DICOM):
        return "dicom", ""
    return "other", _NO_KIND
