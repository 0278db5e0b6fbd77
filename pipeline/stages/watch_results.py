"""What a watch leaves in its folder: a folder for each version, and a table of which version did which scan.

::

    OUT/cells-7/     as `cellscan detect` leaves it: of the scans that version 7 did, and no later one
    OUT/cells-8/
    OUT/scans.csv    one line a scan: by which version it was done, or why it was not

Each scan lies in one of the folders: that of the present version if it did the scan, else that of the latest that did.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.detectors.bundle import Bundle
from pipeline.errors import ModelError
from pipeline.inference.standing import Standing, spec_of
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.found_scans import FoundScan
from pipeline.stages.detect import DetectSummary, model_of
from pipeline.stages.dicom_out import DICOM_FORMATS, DicomOut
from pipeline.stages.export import Exported, export, exported_before
from pipeline.tracking.registry import VersionRecord, resolve

SCANS = "scans.csv"
_COLUMNS = ("volume_id", "name", "path", "state", "version", "detections", "reason")
_STAMP = re.compile(r"(?P<model>.+/.+-[0-9a-f]{8}) (?P<config>[0-9a-f]{16})")
Made = Mapping[str, Sequence[Standing]]


@dataclass(frozen=True, eq=False)
class Version:
    """A version, loaded; ``model`` and ``config`` are its names in the ledger."""

    record: VersionRecord
    bundle: Bundle
    model: str
    config: str

    @classmethod
    def load(cls, settings: Settings, spec: str) -> "Version":
        """Raise what `resolve` and `Bundle.load` do where there is no such version."""
        record = resolve(settings, spec)
        bundle = Bundle.load(record.bundle_folder)
        return cls(record, bundle, model_of(record), bundle.config.digest())

    def made(self, standing: Standing) -> bool:
        return (standing.model, standing.config) == (self.model, self.config)


@dataclass(frozen=True)
class Row:
    """One scan: the result that counts, and what the present version made of it; `None` where there is neither."""

    scan: FoundScan
    standing: Standing | None
    mine: Standing | None
    unsuited: str = ""

    @property
    def state(self) -> Literal["done", "quarantined", "unsuited", "waiting"]:
        if self.standing:
            return "done"
        if self.unsuited:
            return "unsuited"
        return "quarantined" if self.mine and self.mine.state == "quarantined" else "waiting"

    @property
    def reason(self) -> str:
        """Why the present version did not do it; empty where it did, or where nobody has tried."""
        return self.unsuited or (self.mine.reason if self.mine else "")

    @property
    def result(self) -> Path:
        assert self.standing is not None, "only what is done has a result"
        return self.standing.result


def rows_of(scans: Iterable[FoundScan], made: Made, version: Version, unsuited: Mapping[str, str]) -> list[Row]:
    """Each scan with the result that counts, in their order."""
    return [_row(scan, made.get(scan.volume_id, ()), version, unsuited.get(scan.volume_id, "")) for scan in scans]


def _row(scan: FoundScan, made: Sequence[Standing], version: Version, unsuited: str) -> Row:
    done = [one for one in made if one.state == "done"]
    counting = max(done, key=lambda one: (version.made(one), one.order), default=None)
    return Row(scan, counting, next((one for one in made if version.made(one)), None), unsuited)


@dataclass(frozen=True)
class Written:
    """``counts``: volume id → detections of each result in the folder; ``before``: the results that were there."""

    counts: dict[str, int]
    before: frozenset[str]

    @property
    def withdrawn(self) -> int:
        """How many results left the folder for good."""
        return len(self.before - self.counts.keys())

    def __or__(self, other: "Written") -> "Written":
        return Written(self.counts | other.counts, self.before | other.before)


class Results:
    """The folder of a watch.

    Args:
        out: the folder.
        root: paths in the table are relative to it.
        formats: of `pipeline.stages.export.FORMATS`, what else is written.
        settings: where things are.
    """

    def __init__(self, out: Path, root: Path | None, formats: Sequence[str], settings: Settings) -> None:
        self.out, self._root, self._formats, self._settings = out, root, tuple(formats), settings

    def folder(self, spec: str) -> Path:
        """Where the results of a version lie."""
        return self.out / re.sub(r"[^\w.-]", "-", spec)

    def bring_up_to_date(self, rows: Sequence[Row], version: Version, progress: Progress | None = None) -> Written:
        """Write what is new, that of the present version first, and then remove what no longer counts."""
        counting: dict[tuple[str, str], list[Row]] = {(version.model, version.config): []}
        for row in rows:
            if row.standing:
                counting.setdefault((row.standing.model, row.standing.config), []).append(row)
        written = Written({}, frozenset())
        for (model, config), theirs in counting.items():
            written |= self._write(model, config, theirs, version, progress)
        folders = {self.folder(spec_of(model)) for model, _ in counting}
        for stamp in self.out.glob("*/.model"):
            if stamp.parent not in folders and (left := _STAMP.fullmatch(stamp.read_text("utf-8"))):
                written |= self._write(left["model"], left["config"], [], version, progress)
        self._write_table(rows, written.counts)
        return written

    def _write(
        self, model: str, config: str, rows: Sequence[Row], version: Version, progress: Progress | None
    ) -> Written:
        """Bring the folder of one version up to date."""
        folder, stamp = self.folder(spec_of(model)), f"{model} {config}"
        mine = {row.scan.volume_id: row for row in rows}
        before = exported_before(folder, stamp, self._formats)
        stay = before.only(mine) if before else None
        kept, former = (stay.counts if stay else {}), frozenset(before.counts if before else ())
        new = {one: row.result for one, row in mine.items() if one not in kept and row.result.is_file()}
        if before is not None and not new and len(kept) == len(former):
            return Written(kept, former)
        author = version if (version.model, version.config) == (model, config) else self._load(model, config)
        if author is None:
            return Written({}, frozenset())  # deleted meanwhile: what it left stays, and the table says whose it is
        with closing(Catalog.of(self._settings)) as catalog:
            volumes = catalog.volumes(ids=new)
        needs_dicom = set(self._formats) & set(DICOM_FORMATS)
        with DicomOut(author.record, self._settings) if needs_dicom else nullcontext() as dicom:
            exported = export(volumes, new, author.bundle, stamp, folder, progress, self._formats, dicom, stay)
        exported.write_summary(self._summary(author, exported, mine, len(new)))
        return Written(exported.counts, former)

    def _summary(self, author: Version, exported: Exported, rows: Mapping[str, Row], new: int) -> dict[str, object]:
        """As `cellscan detect` leaves it, of the scans that this version has done."""
        done = [rows[one].standing for one in exported.counts]
        return DetectSummary(
            model=author.record.spec,
            threshold=author.bundle.threshold,
            out=exported.folder,
            scans=tuple(self.entry(rows[one].scan, count) for one, count in exported.counts.items()),
            detections=sum(exported.counts.values()),
            detected_now=new,
            done_before=len(exported.counts) - new,
            quarantined={},
            unsuited={},
            unfinished={},
            not_written=exported.refused,
            windows=sum(one.windows for one in done if one),
            windows_skipped=sum(one.background for one in done if one),
        ).to_json()

    def _load(self, model: str, config: str) -> Version | None:
        try:
            found = Version.load(self._settings, spec_of(model))
        except ModelError:
            return None
        return found if (found.model, found.config) == (model, config) else None

    def entry(self, scan: FoundScan, detections: int) -> dict[str, object]:
        """A scan as in `DetectSummary`."""
        return {"volume_id": scan.volume_id, "name": scan.name, "path": self._path(scan), "detections": detections}

    def _write_table(self, rows: Sequence[Row], counts: Mapping[str, int]) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        for row in rows:
            scan, by = row.scan, row.standing.spec if row.standing else ""
            count = counts.get(scan.volume_id, "")
            table.writerow([scan.volume_id, scan.name, self._path(scan), row.state, by, count, row.reason])
        part = self.out / f".{SCANS}.part"
        part.write_text(text.getvalue(), "utf-8", "backslashreplace")
        part.replace(self.out / SCANS)

    def _path(self, scan: FoundScan) -> str:
        if self._root is None or scan.path == str(self._root):
            return scan.path
        return scan.path.removeprefix(f"{str(self._root).rstrip('/')}/")
