"""Finished files come into being whole, and none is written over another."""

import filecmp
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import SourceError


def write_once(path: Path, pieces: Iterable[bytes]) -> None:
    """Write ``pieces`` to ``path``, atomically. The same bytes may be there already.

    Raises:
        SourceError: other bytes are there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with fresh.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        _place(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def _place(fresh: Path, path: Path) -> None:
    try:
        os.link(fresh, path)
    except FileExistsError:
        if not filecmp.cmp(fresh, path, shallow=False):
            raise SourceError("another file claims to be the same instance, with other content") from None
    except OSError:  # a file system without hard links
        if path.exists() and not filecmp.cmp(fresh, path, shallow=False):
            raise SourceError("another file claims to be the same instance, with other content") from None
        fresh.replace(path)
