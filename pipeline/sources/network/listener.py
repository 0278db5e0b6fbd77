"""A C-STORE and C-ECHO provider: pushed instances are kept durably, and ingested when their study has been quiet.

DICOM PS3.4 annex B (storage service class) and PS3.7. An instance is acknowledged when it is on disk, so that a sender
may forget it. Data sets are not parsed beyond the identifiers that say where they belong.
"""

import errno
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.dicom.elements import HandOver, scan_header
from pipeline.sources.dicom.header import text
from pipeline.sources.network.received import Received

# The service class user's echo, PS3.4 annex A.
_VERIFICATION = "1.2.840.10008.1.1"
# Statuses of C-STORE, PS3.4 table B.2-1.
_SUCCESS, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
Note = Callable[[str], None]


@dataclass(frozen=True)
class ListenerOptions:
    """``calling``: application entities that may push, all if empty; ``quiet_seconds``: a study is whole after that."""

    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "CELLSCAN"
    calling: tuple[str, ...] = ()
    quiet_seconds: float = 30.0


@dataclass
class _Arrivals:
    """Which studies got something, and when last."""

    last: dict[Path, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, study: Path) -> None:
        with self.lock:
            self.last[study] = time.monotonic()

    def quiet(self, seconds: float) -> list[Path]:
        """Studies that have been quiet for so long; they are handed over once."""
        now = time.monotonic()
        with self.lock:
            ready = [study for study, at in self.last.items() if now - at >= seconds]
            for study in ready:
                del self.last[study]
        return ready


class Listener:
    """Use it as a context manager: the port is open inside, and closed after.

    Raises:
        SourceError: the port cannot be opened, or another listener fills the folder.
    """

    def __init__(self, folder: Path, options: ListenerOptions) -> None:
        self._received = Received(folder)
        self._options = options
        self._arrivals = _Arrivals()
        self._server: Any = None
        self.stored = 0

    def __enter__(self) -> "Listener":
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt

        _config.STORE_RECV_CHUNKED_DATASET = True  # to a file as it comes, instead of into memory
        # That file has no other setting; what a kill leaves there is removed by the next start.
        self._temporary, tempfile.tempdir = tempfile.tempdir, str(self._received.incoming)
        entity = AE(ae_title=self._options.ae_title)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(_VERIFICATION)
        entity.require_calling_aet = list(self._options.calling)
        where = (self._options.host, self._options.port)
        try:
            self._server = entity.start_server(where, block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        except OSError as error:
            self._received.close()
            raise SourceError(f"{where[0]}:{where[1]} cannot be opened ({error.strerror}): try another port") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        tempfile.tempdir = self._temporary
        self._received.close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def waiting(self) -> int:
        """Studies that have arrived and are not handed over yet."""
        return len(self._arrivals.last)

    def quiet_studies(self) -> list[Path]:
        """Folders of studies that are complete as far as can be told; each is given once after its last arrival."""
        return self._arrivals.quiet(self._options.quiet_seconds)

    def postpone(self, study: Path) -> None:
        """Give a study again later."""
        self._arrivals.note(study)

    def _store(self, event: Any) -> int:
        """Answer one C-STORE request: on disk before it is acknowledged."""
        try:
            with Path(event.dataset_path).open("rb") as stream:
                arrived = self._received.arrive(iter(lambda: stream.read(1 << 20), b""))
            try:
                study_uid, series_uid = _place(arrived)
            except OSError:
                arrived.unlink(missing_ok=True)
                raise
            instance_uid = str(event.request.AffectedSOPInstanceUID)
            self._received.place(arrived, self._received.path(study_uid, series_uid, instance_uid))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return _OUT_OF_RESOURCES if full else _CANNOT_UNDERSTAND
        self.stored += 1
        self._arrivals.note(self._received.study(study_uid))
        return _SUCCESS


def _place(path: Path) -> tuple[str, str]:
    """UIDs of study and series; empty where only a decoder could tell: such a file is kept all the same."""
    try:
        values = scan_header(path, ("StudyInstanceUID", "SeriesInstanceUID"))
    except HandOver:
        return "", ""
    return text(values, "StudyInstanceUID"), text(values, "SeriesInstanceUID")
