"""One round of a watch: look, detect on what is new, write."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pipeline.inference.archive import begin_run
from pipeline.inference.standing import standings
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.found_scans import found_scans, mark
from pipeline.sources.ingest import IngestSummary
from pipeline.sources.settling import Clock
from pipeline.stages.detect import HandOut, Prepared, detect_here
from pipeline.stages.watch_due import CLOSED, Suitable, due
from pipeline.stages.watch_results import Made, Results, Version, rows_of
from pipeline.stages.watch_source import Arrival, WatchedSource
from pipeline.tracking.registry import named

# A round of about this length, so that what arrives meanwhile, or a new champion, need not wait for a whole backlog.
_ROUND_SECONDS, _FIRST_ROUND, _LARGEST_ROUND = 600.0, 100, 5000
# What failed for a reason that may pass is tried again after so long: a full GPU is not free within a minute.
_AGAIN_SECONDS = 3600.0
_NOT_DONE = "another worker is on it, or it is tried again"


@dataclass(frozen=True)
class WatchOptions:
    """``every`` so many seconds there is a look; a file that has not changed for ``settle`` seconds is there whole.

    ``where`` chooses studies of a server. With ``rerun`` a version also does the scans that earlier ones did.
    ``formats`` are as for `detect_archive`. ``once``: end when there is nothing left to do.
    """

    every: float = 60.0
    settle: float = 30.0
    where: Mapping[str, str] = field(default_factory=dict)
    rerun: bool = False
    formats: Sequence[str] = ()
    once: bool = False


@dataclass(frozen=True)
class Round:
    """What happened in one round.

    ``was`` is the version of the round before, where that was another one. ``scans`` were detected on in this round, as
    in `DetectSummary`; ``done_again`` of them an earlier version had done. ``done_before``: results that were written
    for scans which were detected on before, by a round that was stopped or by another command. ``withdrawn`` results
    left ``out``, as the files of their scans went or became another scan. ``quarantined`` and ``unfinished`` tell what
    was not told before: file or scan → reason. ``left`` scans are for the next round; ``waiting`` files (or studies)
    still arrive; ``by_others`` scans are left as another version did them. ``recovered``: the round before had failed.
    """

    model: str
    was: str
    out: Path
    scans: tuple[dict[str, object], ...] = ()
    done_again: int = 0
    done_before: int = 0
    withdrawn: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    unfetched: dict[str, int] = field(default_factory=dict)
    by_others: int = 0
    left: int = 0
    waiting: int = 0
    recovered: bool = False

    @property
    def is_news(self) -> bool:
        told = (
            self.was,
            self.scans,
            self.done_before,
            self.withdrawn,
            self.quarantined,
            self.unfinished,
            self.unfetched,
        )
        return self.recovered or any(told)

    @property
    def detections(self) -> int:
        return sum(int(str(scan["detections"])) for scan in self.scans)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "scans": list(self.scans), "detections": self.detections}


class Watcher:
    """The rounds of a watch; it remembers what it saw, so that one in which nothing came is next to nothing."""

    def __init__(
        self,
        version: str,
        source: WatchedSource,
        out: Path,
        settings: Settings,
        options: WatchOptions,
        hand_out: HandOut | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._spec, self._source, self._settings, self._options = version, source, settings, options
        self._out, self._clock = out, clock
        self._hand_out = hand_out
        self._results = Results(out, source.root, options.formats, settings)
        self._version: Version | None = None
        self._suitable: Suitable | None = None
        self._told_version = ""
        self._finished: tuple[str, tuple[int, int]] | None = None
        self._portion = _FIRST_ROUND
        self._refused: dict[str, str] = {}
        self._unfetched: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()
        self._failed: dict[str, float] = {}

    def round(self, progress: Progress | None = None) -> Round:
        """Look; where something has come, or the version is another one, detect and write."""
        # Only an alias can come to name another version.
        fixed = self._version is not None and "@" not in self._spec
        spec = self._version.record.spec if fixed and self._version else named(self._settings, self._spec)
        arrival = self._source.look(progress)
        self._note(arrival)
        with closing(Catalog.of(self._settings)) as catalog:
            now = mark(catalog)
        if self._finished == (spec, now):
            return self._news(Round(spec, "", self._out, waiting=arrival.waiting))
        done, is_finished = self._work(*self._current(spec), progress)
        self._finished = (spec, now) if is_finished else None
        was, self._told_version = self._told_version, spec
        return self._news(replace(done, was="" if was in ("", spec) else was, waiting=arrival.waiting))

    def _note(self, arrival: Arrival) -> None:
        """A round that fails later must not keep to itself what became of files: it is told by the next one."""
        if arrival.ingested is not None:
            files = arrival.ingested.files
            self._refused = {file.path: file.reason for file in files if file.outcome == "quarantined"}
            self._unfetched = arrival.ingested.unfetched

    def _news(self, done: Round) -> Round:
        """Of what stays as it is, tell what was not told before."""
        told = set(self._refused.items()) | set(done.quarantined.items()) | set(done.unfinished.items())
        told |= {(reason, str(count)) for reason, count in self._unfetched.items()}
        new, self._told = told - self._told, told | self._told
        quarantined = {**self._refused, **done.quarantined}
        return replace(
            done,
            quarantined={what: why for what, why in quarantined.items() if (what, why) in new},
            unfinished={what: why for what, why in done.unfinished.items() if (what, why) in new},
            unfetched={why: count for why, count in self._unfetched.items() if (why, str(count)) in new},
        )

    def _current(self, spec: str) -> tuple[Version, Suitable]:
        if self._version is None or self._suitable is None or self._version.record.spec != spec:
            self._version = Version.load(self._settings, spec)
            self._suitable = Suitable(self._version, self._settings)
        return self._version, self._suitable

    def _work(self, version: Version, suitable: Suitable, progress: Progress | None) -> tuple[Round, bool]:
        """The round, and whether nothing of it is left that another one might do."""
        with closing(Catalog.of(self._settings)) as catalog:
            scans = found_scans(catalog, self._source.root)
        made = self._made(version)
        to_do = due(scans, made, version, suitable)
        again = to_do.by_others if self._options.rerun else ()
        held = self._held()
        wanted = [one for one in (*to_do.fresh, *again) if one not in held]
        todo = tuple(wanted[: self._portion])
        if todo:
            self._detect(version, todo, progress)
            made = self._made(version)
        rows = rows_of(scans, made, version, to_do.unsuited)
        written = self._results.bring_up_to_date(rows, version, progress)
        by_id = {row.scan.volume_id: row for row in rows}
        tried = [by_id[one] for one in todo]
        now_done = [
            row for row in tried if row.mine and row.mine.state == "done" and row.scan.volume_id in written.counts
        ]
        unfinished = [row for row in tried if row.mine is None or row.mine.state not in CLOSED]
        done = Round(
            model=version.record.spec,
            was="",
            out=self._results.folder(version.record.spec),
            scans=tuple(self._results.entry(row.scan, written.counts[row.scan.volume_id]) for row in now_done),
            done_again=len({row.scan.volume_id for row in now_done} & set(to_do.by_others)),
            done_before=len(written.counts.keys() - written.before - {row.scan.volume_id for row in now_done}),
            withdrawn=written.withdrawn,
            quarantined={row.scan.name: row.reason for row in rows if row.mine and row.mine.state == "quarantined"},
            unfinished={row.scan.name: row.reason or _NOT_DONE for row in unfinished},
            by_others=sum(row.standing is not None and row.standing != row.mine for row in rows),
            left=len(wanted) - len(todo),
        )
        self._failed |= {row.scan.volume_id: self._clock() for row in unfinished}
        return done, not (done.left or unfinished or held)

    def _held(self) -> set[str]:
        """What failed a short while ago for a reason that may pass, and is to be given the time to pass."""
        now = self._clock()
        self._failed = {one: at for one, at in self._failed.items() if now - at < _AGAIN_SECONDS}
        return set(self._failed)

    def _made(self, version: Version) -> Made:
        """What is in the ledger, of which the results are still there.

        What the present version made as another bundle, or under another experiment, counts as not made: its results
        would lie in the same folder.
        """
        found, spec = standings(self._settings, version.model), version.record.spec
        return {
            one: [
                standing
                for standing in made
                if (version.made(standing) or standing.spec != spec)
                and (standing.state != "done" or standing.result.is_file())
            ]
            for one, made in found.items()
        }

    def _detect(self, version: Version, todo: Sequence[str], progress: Progress | None) -> None:
        began = self._clock()
        with closing(Catalog.of(self._settings)) as catalog:
            volumes = catalog.volumes(ids=todo)
        run = begin_run(version.model, version.config, todo, self._settings)
        nothing = IngestSummary(self._source.root or self._settings.home, (), (), 0)
        prepared = Prepared(version.record, version.bundle, nothing, tuple(volumes), unsuited={}, levels={}, run=run)
        if self._hand_out is None:
            runner = replace(self._settings.runner, workers=min(self._settings.runner.workers, len(todo)))
            detect_here(prepared, replace(self._settings, runner=runner), progress)
        else:
            self._hand_out(prepared)
        if len(todo) == self._portion:
            pace = len(todo) / max(self._clock() - began, 1e-3)
            self._portion = int(min(max(pace * _ROUND_SECONDS, 1), _LARGEST_ROUND))
