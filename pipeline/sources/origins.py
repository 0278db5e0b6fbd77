"""A volume of the catalog → what its DICOM files say of themselves, read again in a decoding child."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.stories import volume_story
from pipeline.sources.decoding.child import error_of
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.dicom.origin import Origin
from pipeline.sources.identifiers import uid_digest
from pipeline.sources.opening import Openings
from pipeline.sources.walk import walk
from pipeline.volumes import Volume


class Origins:
    """Archive files that hold scans are unpacked once, below ``unpacked``, until it is closed."""

    def __init__(self, catalog: Catalog, decoders: Decoders, unpacked: Path) -> None:
        self._catalog, self._decoders = catalog, decoders
        self._openings = Openings(unpacked, decoders)
        self._members: dict[Path, dict[str, Path]] = {}

    def close(self) -> None:
        self._openings.close()

    def of(self, volume: Volume) -> Origin:
        """The files of ``volume``; where equal scans came under several series, those of the volume's own.

        Raises:
            SourceError: it came from no DICOM file, or its files cannot be read any more.
        """
        if volume.attributes.get("format") != "dicom":
            raise SourceError("the scan came from no DICOM file, so that a DICOM object has nothing to refer to")
        files = volume_story(self._catalog, volume.volume_id).files
        located = [self._located(Path(path)) for path in files]
        reply = self._decoders.one({"job": "origin", "paths": [str(path) for path in located]})
        error = error_of(reply)
        if error is not None:
            raise error
        origins = [Origin.from_json(one) for one in reply["origins"]]
        own = (one for one in origins if uid_digest(one.instances[0].series_uid) == volume.series)
        return next(own, origins[0])

    def _located(self, path: Path) -> Path:
        if path.is_file():
            return path
        for holder in _holders(path):
            member = self._unpacked(holder).get(str(path))
            if member is not None:
                return member
        raise SourceError("a file that the scan was read from is not there any more: ingest its archive again")

    def _unpacked(self, holder: Path) -> dict[str, Path]:
        if holder not in self._members:
            opened = self._openings.open(walk(holder), holder)
            self._members[holder] = {path: file.location for path, file in opened.members.items()}
        return self._members[holder]


def _holders(path: Path) -> Iterator[Path]:
    yield from (parent for parent in path.parents if parent.is_file())
