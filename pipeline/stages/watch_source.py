"""What a watch looks at: a folder, a DICOMweb server, or the catalog. Each look takes in what has arrived whole."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from pipeline.errors import SourceError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.finding import Settled
from pipeline.sources.identifiers import uid_digest
from pipeline.sources.ingest import IngestSummary, ingest
from pipeline.sources.network.dicomweb import Access, Study
from pipeline.sources.network.mirror import mirror, mirror_folder
from pipeline.sources.settling import Settling
from pipeline.sources.walk import archive_root, fingerprint, sizes
from pipeline.stages.ingest import is_address, source_folder

CATALOG = "catalog"


@dataclass(frozen=True)
class Arrival:
    """``ingested`` is there where anything was read; ``waiting`` counts files (of a server: studies) that arrive."""

    ingested: IngestSummary | None = None
    waiting: int = 0


class WatchedSource(Protocol):
    @property
    def root(self) -> Path | None:
        """The catalog's scans that are watched lie below; all where there is none."""

    def look(self, progress: Progress | None = None) -> Arrival:
        """Take into the catalog what has arrived since the last look."""


class WholeCatalog:
    """Whatever other commands ingest."""

    root = None

    def look(self, progress: Progress | None = None) -> Arrival:
        return Arrival()


class WatchedFolder:
    """A folder that others fill. A look at which nothing has changed asks for names, sizes and times and no more."""

    def __init__(self, root: Path, settings: Settings, settling: Settling) -> None:
        self.root = archive_root(root)
        self._settings, self._settling = settings, settling
        self._taken = ""

    def look(self, progress: Progress | None = None) -> Arrival:
        """As `WatchedSource.look`.

        Raises:
            SourceError: there is nothing any more where files were.
        """
        now = fingerprint(self.root, self._settings.home)
        if now == self._taken:
            return Arrival()
        fresh, waiting = self._fresh()
        if fresh and fresh == waiting:
            return Arrival(waiting=len(waiting))
        ingested = ingest(self.root, self._settings, progress, settled=self._is_there)
        self._taken = "" if waiting else now
        self._settling.keep(fresh - {f"{self.root}/{file.path}" for file in ingested.files})
        return Arrival(ingested, len(waiting))

    def _is_there(self, path: str, size: int, mtime_ns: int) -> bool:
        return self._settling.has_settled(path, (size, mtime_ns))

    def _fresh(self) -> tuple[set[str], set[str]]:
        """The files that are not as the catalog has them, and those of them that still arrive."""
        with closing(Catalog.of(self._settings)) as catalog:
            known = {(path, row.size, row.mtime_ns) for path, row in catalog.records(self.root).items()}
        found = 0
        fresh, waiting = set(), set()
        for file in sizes(self.root, self._settings.home):
            found += 1
            if file not in known:
                fresh.add(file[0])
                if not self._is_there(*file):
                    waiting.add(file[0])
        if known and not found:
            # A network folder that is not mounted looks just so, and would take every result with it.
            raise SourceError(
                f"{self.root} is empty, and {len(known)} files were there before: is it mounted? If they are gone for "
                "good, say so with cellscan ingest"
            )
        return fresh, waiting


class WatchedServer:
    """A DICOMweb server: studies that match. One that still grows there is fetched when it has stopped to.

    A study is ingested when all of it is here: of a series, half would pass for a smaller scan.
    """

    def __init__(self, address: str, where: Mapping[str, str], settings: Settings, settling: Settling) -> None:
        self.root = mirror_folder(settings.home, address)
        self._address, self._where = address, dict(where)
        self._settings, self._settling = settings, settling
        self._taken: dict[str, int | None] = {}
        self._all_ingested = False

    def look(self, progress: Progress | None = None) -> Arrival:
        """As `WatchedSource.look`.

        Raises:
            SourceError: the server cannot be reached, or refuses.
        """
        listed: dict[str, int | None] = {}
        wanted: set[str] = set()

        def is_wanted(study: Study) -> bool:
            name = uid_digest(study.uid) or ""
            listed[name] = study.instances
            if study.instances is not None and self._taken.get(name) == study.instances:
                return False
            if self._settling.has_settled(name, study.instances):
                wanted.add(name)
            return name in wanted

        all_ingested, self._all_ingested = self._all_ingested, False
        access = Access.from_environment()
        mirrored = mirror(self._address, self._settings.home, access, self._where, progress, is_wanted)
        waiting = {name: count for name, count in listed.items() if name not in {*wanted, *self._same(listed)}}
        partly = {**waiting, **({name: listed[name] for name in wanted} if mirrored.failed else {})}
        ingested = None
        if mirrored.fetched or mirrored.failed or not all_ingested:
            settled = self._whole_but(partly)
            ingested = ingest(self.root, self._settings, progress, settled=settled)
            ingested = replace(ingested, unfetched=mirrored.failed)
        self._all_ingested = True
        if not mirrored.failed:
            self._taken = {name: count for name, count in listed.items() if name not in waiting}
        return Arrival(ingested, len(waiting))

    def _same(self, listed: Mapping[str, int | None]) -> set[str]:
        """Studies of which as much is here as the server had, and has."""
        return {name for name, count in listed.items() if count is not None and self._taken.get(name) == count}

    def _whole_but(self, studies: Mapping[str, int | None]) -> Settled:
        """Everything has settled, but studies of which less is here than the server counts."""

        @cache
        def is_whole(study: str) -> bool:
            count = studies.get(study)
            return count is None or sum(1 for _ in (self.root / study).glob("*/*.dcm")) >= count

        return lambda path, size, mtime_ns: is_whole(Path(path).relative_to(self.root).parts[0])


def watched_source(source: str, where: Mapping[str, str], settings: Settings, settling: Settling) -> WatchedSource:
    """What the user names: ``catalog``, an address, or a folder.

    Raises:
        SourceError: there is no such folder; conditions were given for something that is no server.
    """
    if is_address(source):
        return WatchedServer(source, where, settings, settling)
    if where:
        raise SourceError("--where chooses studies of a DICOMweb server; here there is nothing to choose")
    if source == CATALOG:
        return WholeCatalog()
    return WatchedFolder(source_folder(source, settings), settings, settling)
