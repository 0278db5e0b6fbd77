"""Instances of a DICOMweb server → files here; what is here already is not fetched again."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.sources.network.dicomweb import Access, DicomWeb, Instance, Study, checked_address
from pipeline.sources.network.received import Received

Progress = Callable[[int, int, str], None]
_CONNECTIONS = 8
_AHEAD = 4 * _CONNECTIONS


@dataclass(frozen=True)
class Mirrored:
    """``fetched`` are new, ``failed`` maps reasons to how many instances could not be fetched."""

    root: Path
    studies: int
    fetched: int
    failed: dict[str, int]


def mirror_folder(home: Path, address: str) -> Path:
    """Where the instances of a server lie: by a digest of its address."""
    return home / "remote" / hashlib.sha256(checked_address(address).encode()).hexdigest()[:16]


def mirror(
    address: str,
    home: Path,
    access: Access,
    where: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    wanted: Callable[[Study], bool] | None = None,
) -> Mirrored:
    """Fetch every instance of the studies that match, and that is not here yet.

    A study of which as many instances are here as the server counts costs one line of a listing: an instance that was
    replaced by another on the server is not noticed. What left the server stays here. A run that was killed
    goes on where it was. An instance that cannot be fetched does not end the run: it is counted, and the next run tries
    again. ``wanted`` is asked about each study that the server lists; what it does not want is passed over.

    Raises:
        SourceError: the server cannot be reached, refuses, or is none.
    """
    server = DicomWeb(address, access, _CONNECTIONS)
    received = Received(mirror_folder(home, address))
    try:
        return _Mirroring(server, received, progress).run(where or {}, wanted or (lambda study: True))
    finally:
        received.close()
        server.close()


class _Mirroring:
    def __init__(self, server: DicomWeb, received: Received, progress: Progress | None) -> None:
        self._server, self._received = server, received
        self._progress = progress or (lambda done, total, what: None)
        self._running: set[Future[bool]] = set()
        self._known = self._done = self._fetched = 0
        self._failed: dict[str, int] = {}

    def run(self, where: Mapping[str, str], wanted: Callable[[Study], bool]) -> Mirrored:
        studies = 0
        with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="dicomweb") as pool:
            try:
                for study in self._server.studies(where):
                    studies += 1
                    if not wanted(study):
                        continue
                    if study.instances is not None and study.instances == self._received.count(study.uid):
                        continue
                    for instance in self._server.instances(study):
                        self._ask(pool, instance)
                while self._running:
                    self._collect()
            except BaseException:
                for future in self._running:
                    future.cancel()
                raise
        return Mirrored(self._received.root, studies, self._fetched, self._failed)

    def _ask(self, pool: ThreadPoolExecutor, instance: Instance) -> None:
        path = self._received.path(instance.study_uid, instance.series_uid, instance.uid)
        if path.exists():
            return
        self._known += 1
        while len(self._running) >= _AHEAD:
            self._collect()
        self._running.add(pool.submit(self._server.fetch, instance, lambda blocks: self._received.keep(path, blocks)))

    def _collect(self) -> None:
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                self._fetched += future.result()
            except SourceError as error:
                self._failed[str(error)] = self._failed.get(str(error), 0) + 1
            self._done += 1
            self._progress(self._done, self._known, "instances fetched")
