"""DICOMDIR: which files a medium's index names (DICOM PS3.3 annex F, PS3.10 section 8)."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.sources.dicom.header import open_dataset

_MOST_FILES = 1_000_000
_INACTIVE = 0


@dataclass(frozen=True)
class Directory:
    """``files`` are paths relative to the DICOMDIR's folder, POSIX style, as it writes them (mostly in capitals)."""

    files: tuple[str, ...]


def read_dicomdir(path: Path) -> Directory:
    """The files that the active records of a DICOMDIR name, in its order, each once.

    Raises:
        SourceError: not a DICOMDIR, damaged, or it names a file outside of its own folder.
    """
    dataset = open_dataset(path)
    if "DirectoryRecordSequence" not in dataset:
        raise SourceError("expected a DICOMDIR, found no directory records")
    files: dict[str, None] = {}
    for record in dataset.DirectoryRecordSequence or []:
        if record.get("RecordInUseFlag", 0xFFFF) == _INACTIVE or not record.get("ReferencedFileID"):
            continue
        files[_relative(record.ReferencedFileID)] = None
        if len(files) > _MOST_FILES:
            raise SourceError(f"the DICOMDIR names more than {_MOST_FILES:,} files")
    return Directory(tuple(files))


def _relative(stated: object) -> str:
    """Components of a file ID → a path below the DICOMDIR's folder."""
    components = [stated] if isinstance(stated, str) else list(stated)  # type: ignore[call-overload]
    parts = "/".join(str(one).strip() for one in components).replace("\\", "/").split("/")
    if not all(parts) or ".." in parts or ":" in parts[0] or any("\0" in part for part in parts):
        raise SourceError("the DICOMDIR names a file outside of its own folder, or one without a name")
    return "/".join(part for part in parts if part != ".")
