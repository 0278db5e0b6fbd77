"""From what an annotation names (a path, a file stem, a folder, a series, instances) to the volumes it may mean.

A file or series may hold several volumes (phases, b-values, levels of a slide). All of them are given here, as they
come from one source; which of them is meant, their geometry decides (`choice`). Several sources are never chosen from.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.marks import Reference
from pipeline.sources.catalog import FileRecord
from pipeline.sources.identifiers import uid_digest
from pipeline.sources.walk import stem

_ANNOTATION_FOLDERS = ("annotations", "annotation")


class MissingImage(AnnotationError):
    """The image is there, but it was not ingested itself."""


class Images:
    """The image files of an archive, findable by the names that annotations use. Paths are absolute."""

    def __init__(self, records: Iterable[FileRecord]) -> None:
        self._by_path: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_name: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_series: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_instance: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_folder: dict[str, list[FileRecord]] = defaultdict(list)
        self._by_volume: dict[str, list[FileRecord]] = defaultdict(list)
        self.records = [record for record in records if record.kind == "image"]
        for record in self.records:
            self._add(record, PurePosixPath(record.path))

    def _add(self, record: FileRecord, path: PurePosixPath) -> None:
        self._by_path[record.path].append(record)
        self._by_folder[str(path.parent)].append(record)
        for volume_id in record.volume_ids:
            self._by_volume[volume_id].append(record)
        if record.instance:
            self._by_instance[record.instance].append(record)
        names = {path.name, stem(path.name)}
        if record.series:
            self._by_series[record.series].append(record)
            self._by_path[str(path.parent)].append(record)
            names.add(path.parent.name)
        else:
            # Series that were converted are often named by their UID (LUNA16's are).
            self._by_series[uid_digest(stem(path.name)) or ""].append(record)
        for name in names:
            self._by_name[name].append(record)

    def volumes(self, reference: Reference, base: str) -> tuple[str, ...]:
        """The volumes of the one file or series that ``reference`` names; ``base`` as for `of_file`.

        Raises:
            AnnotationError: no such image, or several.
            MissingImage: the image was refused itself.
        """
        if reference.instances:
            named = set(reference.instances)
            return _of_one_source([record for one in named for record in self._by_instance.get(one, [])])
        if reference.series:
            return _of_one_source(self._by_series.get(reference.series, []))
        return self.of_file(reference.file, base)

    def of_file(self, reference: str, base: str) -> tuple[str, ...]:
        """By a path below ``base``, the end of one, a file name, a file stem, a series' folder name, or a volume's id.

        Errors as for `volumes`.
        """
        if reference in self._by_volume:
            return (reference,)
        name = reference.replace("\\", "/").strip("/").removeprefix("./")
        exact = self._by_path.get(f"{base}/{name}") or self._by_path.get(reference)
        if exact:
            return _of_one_source(exact)
        named = self._by_name.get(name.rsplit("/", 1)[-1], [])
        if "/" in name:
            named = [one for one in named if f"{one.path}/".endswith(f"/{name}/") or _folder_ends(one, name)]
        return _of_one_source([record for record in named if record.path.startswith(base + "/")])

    def has(self, volume_id: str) -> bool:
        """Whether an image file of the archive became this volume."""
        return volume_id in self._by_volume

    def beside(self, path: str, stems: Iterable[str]) -> tuple[str, ...]:
        """The image in the folder of ``path`` with one of ``stems``; without stems the only one there.

        Errors as for `volumes`.
        """
        wanted = {one.lower() for one in stems}
        here = self._by_folder.get(str(PurePosixPath(path).parent), [])
        sources = {record.series or record.path for record in here if record.outcome != "ignored"}
        if not wanted and len(sources) > 1:
            raise AnnotationError(f"{len(sources)} images lie beside it, so it is not clear which is meant")
        return _of_one_source([r for r in here if not wanted or _names(r) & wanted])

    def at_instances(self, instances: Iterable[str]) -> dict[str, str]:
        """The path of one file of each instance that is there, by the instance's digest."""
        return {one: self._by_instance[one][0].path for one in instances if one in self._by_instance}


def base_of(path: str) -> str:
    """The folder that references in the file at ``path`` are relative to: its own, or the one above ``annotations``."""
    folder = PurePosixPath(path).parent
    for parent in (folder, *folder.parents):
        if parent.name.lower() in _ANNOTATION_FOLDERS:
            return str(parent.parent)
    return str(folder)


def _names(record: FileRecord) -> set[str]:
    name = PurePosixPath(record.path).name
    return {name.lower(), stem(name).lower()}


def _folder_ends(record: FileRecord, name: str) -> bool:
    return bool(record.series) and f"/{PurePosixPath(record.path).parent}".endswith(f"/{name}")


def _of_one_source(records: list[FileRecord]) -> tuple[str, ...]:
    # No reference is quoted: file names and stems may be a patient's.
    if not records:
        raise AnnotationError("there is no image that it could belong to")
    taken = [record for record in records if record.volume_ids]
    if not taken:
        raise MissingImage(f"its image was {records[0].outcome}")
    volumes = dict.fromkeys(volume for record in taken for volume in record.volume_ids)
    if len(volumes) > 1 and len({record.series or record.path for record in taken}) > 1:
        raise AnnotationError(f"{len(volumes)} volumes fit, so it is not clear which is meant")
    return tuple(volumes)
