"""A folder of instances from the network: names are digests, and a file is there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import SourceError
from pipeline.sources.identifiers import uid_digest

_UNKNOWN = "unknown"


class Received:
    """``<root>/<study>/<series>/<instance>.dcm``, each name a digest of a UID: no name comes from the network.

    Raises:
        SourceError: another process fills the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root.parent / f"{root.name}.incoming"
        root.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(root.parent / f"{root.name}.lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise SourceError("another cellscan receives from there already: wait for it, or stop it") from error
        shutil.rmtree(self.incoming, ignore_errors=True)  # what was not acknowledged when a run was killed
        self.incoming.mkdir(parents=True)

    def close(self) -> None:
        self._lock.release()

    def study(self, study_uid: str) -> Path:
        return self.root / (uid_digest(study_uid) or _UNKNOWN)

    def path(self, study_uid: str, series_uid: str, instance_uid: str) -> Path:
        series, instance = uid_digest(series_uid) or _UNKNOWN, uid_digest(instance_uid) or _UNKNOWN
        return self.study(study_uid) / series / f"{instance}.dcm"

    def count(self, study_uid: str) -> int:
        """How many instances of a study are here."""
        return sum(1 for _ in self.study(study_uid).glob("*/*.dcm"))

    def keep(self, path: Path, blocks: Iterable[bytes]) -> bool:
        """Write one instance durably: when this returns, it survives a loss of power.

        Returns:
            Whether anything was written (see `place`).
        """
        return self.place(self.arrive(blocks), path)

    def arrive(self, blocks: Iterable[bytes]) -> Path:
        """Write bytes that have no name yet, durably."""
        temporary = self.incoming / uuid.uuid4().hex
        try:
            with temporary.open("wb") as stream:
                for block in blocks:
                    stream.write(block)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def place(self, temporary: Path, path: Path) -> bool:
        """Give what arrived its name.

        An instance that is here already with the same bytes stays as it is. One of the same UID with other bytes is
        kept beside it, since nothing sent may be lost; ingest then says that the two contradict each other.

        Returns:
            Whether anything was written.
        """
        try:
            self._make(path.parent)
            for place in (path, *(path.with_name(f"{path.stem}-{n}.dcm") for n in range(2, 100))):
                try:
                    os.link(temporary, place)  # fails where another sender was first, which a rename would not
                except FileExistsError:
                    if _same(temporary, place):
                        return False
                else:
                    _sync_folder(place.parent)
                    return True
            raise OSError(f"an instance came with more than 99 different contents ({path.stem})")
        finally:
            temporary.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        """The folder, durably: a new one is lost with the power until the one that holds it is synced."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _same(a: Path, b: Path) -> bool:
    if a.stat().st_size != b.stat().st_size:
        return False
    with a.open("rb") as one, b.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(1 << 20):
                return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
