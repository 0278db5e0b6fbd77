"""The folder that results go to, looked at before there are any."""

import tempfile
from pathlib import Path

from pipeline.errors import ConfigError, StoreError


def check_out(out: Path, root: Path, home: Path) -> None:
    """Results among the scans would be taken for scans, and their label maps for annotations, the next time.

    Args:
        out: where results are to go.
        root: where the scans lie, a folder or a file.
        home: cellscan's own folder; what lies in it is no part of an archive around it.

    Raises:
        ConfigError: ``out`` lies in ``root``.
    """
    out = out.expanduser().resolve()
    if out.is_relative_to(root) and not (home.is_relative_to(root) and out.is_relative_to(home)):
        raise ConfigError(
            f"--out {out} lies in the folder of the scans, {root}: results would be taken for scans; name another"
        )


def try_out(out: Path) -> None:
    """Make the folder, and write into it: better now than after a night's work.

    Raises:
        StoreError: that cannot be done.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise StoreError(f"--out {out} cannot be written ({error.strerror}): name another folder") from error
