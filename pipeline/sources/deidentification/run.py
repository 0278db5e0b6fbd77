"""A tree of files → a tree of the same scans without their patients; every file is accounted for."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.annotations.layouts import label_rule
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.deidentification.found import Found, find
from pipeline.sources.deidentification.ledger import FileResult, Ledger, Stamp
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.report import stated, write_report
from pipeline.sources.opening import Openings
from pipeline.sources.patients import PatientKeys
from pipeline.sources.walk import FoundFile, archive_root

_BATCH = 16
_CLEANED = ("dicom", "nifti")


@dataclass(frozen=True)
class DeidentifySummary:
    """What became of every file below ``root``, ordered by path; ``unchanged`` ones were done before."""

    root: Path
    out: Path
    options: DeidentifyOptions
    files: tuple[FileResult, ...]
    unchanged: int

    def counts(self) -> dict[str, int]:
        """Files by outcome; studies and patients of the written ones."""
        outcomes = Counter(file.outcome for file in self.files)
        written = [file for file in self.files if file.outcome == "written"]
        return {
            "files": len(self.files),
            **{name: outcomes[name] for name in ("written", "copy", "refused", "quarantined", "ignored")},
            "studies": len({file.study for file in written}),
            "patients": len({file.patient for file in written} - {""}),
            "unchanged": self.unchanged,
        }

    def to_json(self) -> dict[str, Any]:
        """One JSON object; the sources' paths are for the user's own screen."""
        shown = ("path", "outcome", "reason", "output", "flags")
        return {
            "root": str(self.root),
            "out": str(self.out),
            "options": self.options.to_json(),
            "codes": list(self.options.codes),
            "counts": self.counts(),
            "files": [{name: getattr(file, name) for name in shown} for file in self.files],
        }


def deidentify(
    root: Path,
    out: Path,
    options: DeidentifyOptions,
    settings: Settings,
    progress: Progress | None = None,
    prune: bool = False,
) -> DeidentifySummary:
    """Write every DICOM and NIfTI file below ``root`` without its patient to ``out``.

    The same input UID, patient and identifier get the same replacement in every run with the same home folder. A file
    that is in ``out`` already and did not change is not done again, so that a run that was stopped is continued by
    running it again. Archive files (zip, tar) are read like folders. Files of other kinds are not copied, and neither
    is anything whose names or bytes could tell the patient; each has its reason. ``out/report`` says what was done.

    With ``prune`` outputs go whose sources are gone (a patient who withdrew, say); else they stay.

    Raises:
        SourceError: nothing at ``root``; ``out`` inside ``root`` or the other way round; ``out`` holds files that were
            made with other options or another key.
    """
    root, out = archive_root(root), out.expanduser().resolve()
    _check_places(root, out)
    pseudonyms = Pseudonyms.of(PatientKeys(settings.home))
    _check_before(out, options, pseudonyms.fingerprint)
    with Ledger(_ledger_path(out, options, pseudonyms, settings)) as ledger, Decoders() as decoders:
        if stated(out) is None:  # so that a run that is killed leaves no files of which nobody knows the options
            write_report(out, options, pseudonyms.fingerprint, ledger)
        run = _Run(out, options, pseudonyms, ledger, decoders, progress or (lambda done, total, what: None))
        openings = Openings(settings.home / "unpacked", decoders)
        try:
            found = find(root, settings.home, run.stamps, run.is_done, openings)
            if prune:
                run.prune(found)
            unchanged = run.finish(found)
        finally:
            openings.close()
        write_report(out, options, pseudonyms.fingerprint, ledger)
        names = {**found.known, **{path: file.relative for path, file in found.files.items()}}
        files = [replace(one, path=names[one.path]) for one in ledger.results() if one.path in names]
        return DeidentifySummary(root, out, options, tuple(files), unchanged)


class _Run:
    def __init__(
        self,
        out: Path,
        options: DeidentifyOptions,
        pseudonyms: Pseudonyms,
        ledger: Ledger,
        decoders: Decoders,
        progress: Progress,
    ) -> None:
        self._out = out
        self._options = options
        self._pseudonyms = pseudonyms
        self._ledger = ledger
        self._decoders = decoders
        self._progress = progress
        self._outputs: dict[str, str] = {}
        self.stamps = ledger.stamps()

    def is_done(self, file: FoundFile, stamp: Stamp | None) -> bool:
        """Whether a file did not change and its output is there."""
        return (
            stamp is not None
            and (stamp.size, stamp.mtime_ns) == (file.size, file.mtime_ns)
            and (not stamp.output or (self._out / stamp.output).is_file())
        )

    def prune(self, found: Found) -> None:
        """Remove what was written for files that are gone, and forget them."""
        here = found.files.keys() | found.known.keys()
        gone = {path for path, stamp in self.stamps.items() if path not in here}
        kept = {stamp.output for path, stamp in self.stamps.items() if path in here}
        for output in {self.stamps[path].output for path in gone} - kept - {""}:
            (self._out / output).unlink(missing_ok=True)
        self._ledger.forget(gone)
        self.stamps = self._ledger.stamps()

    def finish(self, found: Found) -> int:
        """Do what is left; how many files were done before."""
        files, stamps = found.files, self.stamps
        left = {path for path, file in files.items() if not self.is_done(file, stamps.get(path))}
        stale = {stamps[path].output for path in left if path in stamps} - {""}
        for output in stale:
            (self._out / output).unlink(missing_ok=True)
        left |= {path for path in files if path in stamps and stamps[path].output in stale}
        self._outputs = {
            stamp.output: path for path, stamp in stamps.items() if stamp.outcome == "written" and path not in left
        }
        here = files.keys() | found.known.keys()
        self._ledger.forget(path for path, stamp in stamps.items() if path not in here and not stamp.output)
        waiting = [file for path, file in files.items() if path in left]
        refused = [file for file in waiting if str(file.path) in found.refused or not _is_cleaned(file)]
        self._ledger.save(_not_copied(file, found) for file in refused)
        self._clean([file for file in waiting if file not in refused])
        return len(here) - len(left)

    def _clean(self, files: Sequence[FoundFile]) -> None:
        done = 0
        by_location = {str(file.location): file for file in files}
        batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
        alone: list[FoundFile] = []
        for job, reply in self._decoders.run(self._job(batch) for batch in batches):
            batch = [by_location[path] for path in job["paths"]]
            if "error" in reply:
                alone.extend(batch)
                continue
            self._take(batch, reply["files"])
            done += len(batch)
            self._progress(done, len(files), "files")
        # One file that kills the child costs no other file its turn.
        for job, reply in self._decoders.run(self._job([file]) for file in alone):
            file = by_location[job["paths"][0]]
            self._take([file], reply["files"] if "files" in reply else [{"reason": str(reply["message"])}])
            done += 1
            self._progress(done, len(files), "files")

    def _job(self, files: Sequence[FoundFile]) -> dict[str, Any]:
        return {
            "job": "deidentify",
            "paths": [str(file.location) for file in files],
            "names": [file.relative for file in files],
            "kinds": [file.kind for file in files],
            "out": str(self._out),
            "options": asdict(self._options),
            "key": self._pseudonyms.key.hex(),
        }

    def _take(self, files: Sequence[FoundFile], entries: Sequence[dict[str, Any]]) -> None:
        self._ledger.save([self._result(file, entry) for file, entry in zip(files, entries, strict=True)])

    def _result(self, file: FoundFile, entry: dict[str, Any]) -> FileResult:
        result = FileResult(str(file.path), file.size, file.mtime_ns, "quarantined", entry.get("reason", ""))
        if "path" not in entry:
            study = entry.get("study", "")
            return replace(result, outcome="refused", study=study) if "study" in entry else result
        is_first = self._outputs.setdefault(entry["path"], str(file.path)) == str(file.path)
        return replace(
            result,
            outcome="written" if is_first else "copy",
            reason="" if is_first else "another file is the same instance",
            output=entry["path"],
            patient=entry["patient"],
            study=entry["study"],
            series=entry["series"],
            flags=tuple(entry["flags"]),
            counts=tuple(tuple(row) for row in entry["counts"]),
        )


def _is_cleaned(file: FoundFile) -> bool:
    return file.kind in _CLEANED and not _is_nifti_label_map(file)


def _is_nifti_label_map(file: FoundFile) -> bool:
    return file.kind == "nifti" and label_rule(str(file.path)) is not None


def _not_copied(file: FoundFile, found: Found) -> FileResult:
    path = str(file.path)
    result = FileResult(path, file.size, file.mtime_ns, "ignored")
    if path in found.refused:
        summary = "an archive file, or a member of one, that cannot be opened"
        return replace(result, outcome="quarantined", reason=found.refused[path], summary=summary)
    if path in found.opened:
        return replace(result, reason=f"an archive file: its {found.opened[path]} members are listed one by one")
    if _is_nifti_label_map(file):
        return replace(result, reason="a label map belongs to its image by its name, and no name is kept: not copied")
    reason = file.reason or f"only DICOM and NIfTI files are de-identified ({file.kind}): not copied"
    return replace(result, reason=reason)


def _check_places(root: Path, out: Path) -> None:
    if out == root or out.is_relative_to(root) or root.is_relative_to(out):
        raise SourceError(f"source and output must lie apart: {root} and {out}")


def _check_before(out: Path, options: DeidentifyOptions, fingerprint: str) -> None:
    before = stated(out)
    if before is not None and before != (options.to_json(), fingerprint):
        raise SourceError(
            f"{out} holds files that were made with other options or another key: choose another output folder"
        )


def _ledger_path(out: Path, options: DeidentifyOptions, pseudonyms: Pseudonyms, settings: Settings) -> Path:
    text = json.dumps([str(out), options.digest, pseudonyms.fingerprint])
    return settings.home / "deidentified" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.db"
