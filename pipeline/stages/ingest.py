"""Scans into the catalog, from a folder, an archive file or a DICOMweb server."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.ingest import IngestSummary, ingest
from pipeline.sources.walk import archive_root


def ingest_archive(
    archive: Path | str,
    settings: Settings,
    progress: Progress | None = None,
    where: Mapping[str, str] | None = None,
    deidentify: DeidentifyOptions | None = None,
) -> IngestSummary:
    """Take an archive into the catalog; every file ends with an outcome and a reason.

    Args:
        archive: a folder, a file (an archive file too), or the ``https://`` address of a DICOMweb server, of which
            what is not here yet is fetched first.
        settings: where things are; ``CELLSCAN_DICOMWEB_…`` in the environment holds credentials.
        progress: called while files are fetched and read.
        where: of a server, only studies that match (DICOM keyword → value, as QIDO-RS takes it).
        deidentify: how to take the patients out first: then a copy without them is ingested, and lies in the home
            folder; what cannot be made safe is not ingested.

    Raises:
        SourceError: there is nothing at ``archive``; the server refuses or cannot be reached.
    """
    unfetched: dict[str, int] = {}
    if is_address(archive):
        root, unfetched = _fetched(str(archive), settings, progress, where)
    elif where:
        raise SourceError("--where chooses studies of a DICOMweb server; for a folder there is nothing to choose")
    else:
        root = source_folder(Path(archive), settings)
    withheld: dict[str, int] = {}
    if deidentify is not None:
        root, withheld = _without_patients(root, deidentify, settings, progress)
    # Of a copy without patients the report on it is no part.
    summary = ingest(root, settings, progress, leave_out=None if deidentify is None else root / "report")
    return replace(summary, unfetched=unfetched, withheld=withheld)


def _fetched(
    address: str, settings: Settings, progress: Progress | None, where: Mapping[str, str] | None
) -> tuple[Path, dict[str, int]]:
    from pipeline.sources.network.dicomweb import Access
    from pipeline.sources.network.mirror import mirror

    mirrored = mirror(address, settings.home, Access.from_environment(), where, progress)
    return mirrored.root, mirrored.failed


def _without_patients(
    root: Path, options: DeidentifyOptions, settings: Settings, progress: Progress | None
) -> tuple[Path, dict[str, int]]:
    """The folder of the copy, one for each source and set of options; and what is not in it, by reason."""
    from pipeline.sources.deidentification.run import deidentify

    name = hashlib.sha256(f"{root} {json.dumps(asdict(options), sort_keys=True)}".encode()).hexdigest()[:16]
    copy = settings.home / "deidentified" / name
    done = deidentify(root, copy, options, settings, progress, prune=True)
    return copy, dict(Counter(file.reason for file in done.files if file.outcome not in ("written", "copy")))


def is_address(archive: Path | str) -> bool:
    """Whether an archive is a server's address and no path."""
    return isinstance(archive, str) and archive.startswith(("http://", "https://"))


def archive_place(archive: Path | str, settings: Settings) -> Path:
    """Where the scans of an archive lie, or will when they have been fetched.

    Raises:
        SourceError: there is nothing at ``archive``; the address is none.
    """
    if not is_address(archive):
        return archive_root(source_folder(archive, settings))
    from pipeline.sources.network.mirror import mirror_folder

    return mirror_folder(settings.home, str(archive))


def source_folder(source: str | Path, settings: Settings) -> Path:
    """A folder as a user names it: absolute, below the working folder, or below the data folder.

    What an experiment names is found by `experiment_source`.

    Raises:
        SourceError: it is in none of these.
    """
    path = Path(source).expanduser()
    for candidate in (path, settings.data / path):
        if candidate.exists():
            return candidate.resolve()
    places = " nor at ".join(dict.fromkeys((str(path), str(settings.data / path))))
    raise SourceError(f"no data at {places}; the data folder is set by CELLSCAN_DATA")
