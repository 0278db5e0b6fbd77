"""DICOM files to a server, by DICOMweb or C-STORE."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.network.dicomweb import Access
from pipeline.sources.network.sending import Sent, destination, send


@dataclass(frozen=True)
class SendSummary:
    """What became of every file, and how many ended so."""

    address: str
    files: tuple[Sent, ...]

    def counts(self) -> dict[str, int]:
        """``stored`` now, ``before``, ``duplicate`` (the server had it), ``failed``."""
        return dict(Counter("before" if one.before else one.outcome for one in self.files))


def send_files(
    sources: Sequence[Path], address: str, settings: Settings, progress: Progress | None = None
) -> SendSummary:
    """Store files, and every ``.dcm`` below folders, on the server at ``address``.

    Sending again does no harm: what this home stored there is left out, and a server takes an instance once.

    Raises:
        SourceError: there is nothing to send, or ``address`` is none.
    """
    files = [path for source in sources for path in _below(source)]
    if not files:
        raise SourceError("expected DICOM files, or folders with .dcm files, found none at the paths given")
    server = destination(address, Access.from_environment())
    try:
        return SendSummary(address, tuple(send(files, address, server, settings.home, progress)))
    finally:
        server.close()


def _below(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise SourceError(f"there is nothing at {source}")
    return sorted(path for path in source.rglob("*.dcm") if path.is_file())
