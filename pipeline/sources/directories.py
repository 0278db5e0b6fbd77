"""DICOMDIR files: what they name must be there."""

from pathlib import Path

from pipeline.sources.catalog import FileRecord
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.finding import Finding
from pipeline.sources.taking import Taking


def directory_rows(paths: list[str], finding: Finding, taking: Taking, decoders: Decoders) -> list[FileRecord]:
    """A row for each DICOMDIR: quarantined where files that it names are missing, so that the loss is seen.

    The scans are taken from the files themselves, whether a DICOMDIR names them or not.
    """
    at = {str(finding.files[path].location): path for path in paths}
    rows = []
    for job, reply in decoders.run([{"job": "dicomdir", "paths": [where]} for where in at]):
        path = at[job["paths"][0]]
        if "error" in reply:
            rows.append(taking.row(path, "directory", "quarantined", reply["message"]))
            continue
        rows.append(_row(path, reply["files"], finding, taking))
    return rows


def _row(path: str, named: list[str], finding: Finding, taking: Taking) -> FileRecord:
    folder = Path(path).parent
    there = {one.lower() for one in finding.files}  # media are often copied with another case
    missing = [name for name in named if str(folder / name).lower() not in there]
    if missing:
        reason = f"{len(missing)} of the {len(named)} files that it names are not there"
        return taking.row(path, "directory", "quarantined", reason)
    return taking.row(path, "directory", "ingested", f"an index of {len(named)} files, all there")
