"""Which image files are read together: a NIfTI header with its voxels, a detached NRRD header with its data files."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from pipeline.errors import SourceError
from pipeline.sources.images.nrrd_header import read_nrrd_header, relative_data_file
from pipeline.sources.units import Refusal, Unit
from pipeline.sources.walk import FoundFile

_HEADER, _VOXELS = (".hdr", ".hdr.gz"), (".img", ".img.gz")


def image_units(
    files: Sequence[FoundFile], beside: Mapping[str, FoundFile] | None = None
) -> tuple[list[Unit], list[Refusal]]:
    """Units of the files of kind ``nifti``, ``nrrd``, ``picture`` and ``tiff``, and those that cannot be read.

    Every file of ``files`` is in one unit or one refusal. A unit's paths begin with the header. Data files of a
    detached NRRD header may be of any kind, and are in its unit.

    Args:
        files: what is to be read.
        beside: all files of the archive by path, among which the other half of a pair is looked for; ``files`` by
            default.
    """
    there = {str(file.path): file for file in files} if beside is None else dict(beside)
    there.update({str(file.path): file for file in files})
    units: list[Unit] = []
    refusals: list[Refusal] = []
    taken: set[str] = set()
    for file in files:
        path = str(file.path)
        if path in taken:
            continue
        try:
            paths = _together(file, there)
        except SourceError as error:
            refusals.append(Refusal(path, "quarantined", str(error)))
            continue
        units.append(Unit(file.kind, paths))
        taken.update(paths)
    # A data file that comes before its header in the list was first taken for a scan of its own.
    alone = {(path,) for unit in units if len(unit.paths) > 1 for path in unit.paths}
    claimed = {path for (path,) in alone}
    return (
        [unit for unit in units if unit.paths not in alone],
        [refusal for refusal in refusals if refusal.path not in claimed],
    )


def _together(file: FoundFile, there: Mapping[str, FoundFile]) -> tuple[str, ...]:
    if file.kind == "nifti":
        return _pair(str(file.path), there)
    if file.kind == "nrrd":
        return (str(file.path), *_data_files(file, there))
    return (str(file.path),)


def _pair(path: str, there: Mapping[str, FoundFile]) -> tuple[str, ...]:
    """The header and the voxels of the NIfTI pair of which ``path`` is one; or ``path`` alone."""
    suffix = next((path[-len(one) :] for one in (*_HEADER, *_VOXELS) if path.lower().endswith(one)), "")
    if not suffix:
        return (path,)
    stem = path[: -len(suffix)]
    headers, voxels = ([name for name in _spellings(stem, ends) if name in there] for ends in (_HEADER, _VOXELS))
    for names, what in ((headers, "header (.hdr)"), (voxels, "voxels (.img)")):
        if len(names) != 1:
            reason = "is not there" if not names else f"is there {len(names)} times"
            raise SourceError(f"half of a NIfTI pair: the file with its {what} {reason}")
    return headers[0], voxels[0]


def _spellings(stem: str, suffixes: tuple[str, ...]) -> list[str]:
    return [stem + spelt for one in suffixes for spelt in (one, one.upper())]


def _data_files(file: FoundFile, there: Mapping[str, FoundFile]) -> list[str]:
    with file.location.open("rb") as stream:
        try:
            names = read_nrrd_header(stream).data_files
        except SourceError:
            return []  # the loader says what is wrong
    return [_inside(PurePosixPath(str(file.path)).parent, name, there) for name in names]


def _inside(folder: PurePosixPath, name: str, there: Mapping[str, FoundFile]) -> str:
    path = relative_data_file(name)
    found = str(folder / path)
    if found not in there:
        raise SourceError("a data file that the NRRD header names is not there")
    return found
