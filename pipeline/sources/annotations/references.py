"""From what an annotation names (a path, a file stem, a folder, a series) to the image files it means."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from pipeline.errors import AnnotationError
from pipeline.sources.catalog import FileRecord
from pipeline.sources.walk import stem


class MissingImage(AnnotationError):
    """The image is there, but it was not ingested itself."""


class Images:
    """The image files of an archive, findable by the names that annotations use. Paths are absolute."""

    def __init__(self, records: Iterable[FileRecord]) -> None:
        self._by_path: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_name: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_series: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_volume: dict[str, list[FileRecord]] = defaultdict(list)
        self.records = [record for record in records if record.kind == "image"]
        for record in self.records:
            path = PurePosixPath(record.path)
            names = {path.name, stem(path.name)}
            self._by_path[record.path].append(record)
            if record.volume_id:
                self._by_volume[record.volume_id].append(record)
            if record.series:
                self._by_series[record.series].append(record)
                self._by_path[str(path.parent)].append(record)
                names.add(path.parent.name)
            for name in names:
                self._by_name[name].append(record)

    def of_volume(self, volume_id: str) -> list[FileRecord]:
        """The image files that became one volume."""
        return self._by_volume.get(volume_id, [])

    def of_reference(self, reference: str, base: str) -> str:
        """The volume meant by a path below ``base``, a file name, a file stem or a series' folder name.

        Raises:
            AnnotationError: no such image, or several.
            MissingImage: the image was refused itself.
        """
        exact = self._by_path.get(f"{base}/{reference.strip('/')}")
        if exact:
            return _only(exact)
        below = [record for record in self._by_name.get(reference, []) if record.path.startswith(base + "/")]
        return _only(below)

    def of_series(self, series: str) -> str:
        """The volume of a series, by the digest of its SeriesInstanceUID (errors as `of_reference`)."""
        return _only(self._by_series.get(series, []))

    def beside(self, path: str, stems: Iterable[str]) -> str:
        """The volume of an image in the folder of ``path`` with one of ``stems``; without stems the only one there."""
        folder = PurePosixPath(path).parent
        wanted = set(stems)
        here = [record for record in self.records if PurePosixPath(record.path).parent == folder]
        return _only([r for r in here if not wanted or stem(r.path).lower() in wanted])


def _only(records: list[FileRecord]) -> str:
    # No reference is quoted: file names and stems may be a patient's.
    volumes = {record.volume_id for record in records if record.volume_id}
    if not records:
        raise AnnotationError("there is no image that it could belong to")
    if not volumes:
        raise MissingImage(f"its image was {records[0].outcome}")
    if len(volumes) > 1:
        raise AnnotationError(f"{len(volumes)} volumes fit, so it is not clear which is meant")
    return str(volumes.pop())
