"""What a report is made of. Fill these records; `pipeline.reporting.report.write_report` does the rest."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.config import ExperimentConfig
from pipeline.evaluation import Comparison, Evaluation
from pipeline.reporting.explained import ExplainedPicture
from pipeline.reporting.gallery import CasePicture
from pipeline.reporting.viewed import CaseViews


class FileLike(Protocol):
    """A file as ingest reports it."""

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class IngestReport:
    """What became of the files of an archive.

    ``counts``: outcome → files. ``reasons``: reason of quarantine → files. File names stay out of the report, since
    hospitals put names of patients in them.
    """

    counts: Mapping[str, int]
    reasons: Mapping[str, int] = field(default_factory=dict)
    volumes: int | None = None

    @classmethod
    def of(cls, files: Iterable[FileLike], volumes: int | None = None) -> "IngestReport":
        listed = list(files)
        reasons = Counter(one.reason for one in listed if one.outcome == "quarantined")
        return cls(Counter(one.outcome for one in listed), dict(reasons.most_common()), volumes)


@dataclass(frozen=True)
class Page:
    """Where more is to be seen. ``address`` is a link if it is http(s), else text; ``how`` a command that opens it."""

    name: str
    address: str = ""
    how: str = ""


@dataclass(frozen=True)
class Promotion:
    """One change of champion: when (ISO), what was done, the versions' numbers after and before, and why."""

    at: str
    action: str
    version: str | None
    previous: str | None
    reason: str


@dataclass(frozen=True, eq=False)
class TaskReport:
    """One task: a model name, its versions, and what is known of them.

    Args:
        name: the registered model's name.
        evaluations: one a version, oldest first. Those with different test sets are shown apart.
        comparisons: of two of these versions each.
        champion: the ``Evaluation.version`` of the version that holds ``@champion``, or ``None``.
        config: the experiment of the version that the gallery and the model card are about.
        pictures: from `pipeline.reporting.gallery.gallery`.
        views: from `pipeline.reporting.viewed.case_views`, what the viewer holds.
        pictured_version: the version whose errors the pictures and the viewer show.
        explained: why the network says what it says, from `pipeline.reporting.explained`.
        facts: further rows of the model card: training cases and patients, seconds, weights digest, run address.
        history: the champions of the name, oldest first.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...] = ()
    champion: str | None = None
    config: ExperimentConfig | None = None
    pictures: tuple[CasePicture, ...] = ()
    views: CaseViews | None = None
    pictured_version: str = ""
    explained: tuple[ExplainedPicture, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Promotion, ...] = ()

    def __post_init__(self) -> None:
        if not self.evaluations:
            raise ValueError(f"task {self.name}: a report needs at least one evaluation, got none")

    @property
    def lead(self) -> Evaluation:
        """The evaluation of the version that is pictured; else the champion's, or the newest one's."""
        pictured = [one for one in self.evaluations if one.version == self.pictured_version]
        if pictured:
            return pictured[-1]
        held = [one for one in self.evaluations if one.version == self.champion]
        return held[-1] if held else self.evaluations[-1]


@dataclass(frozen=True, eq=False)
class ReportData:
    """A whole report.

    ``created`` is shown as it is. ``provenance``: name → value, such as code commit, catalog, seeds, package versions.
    ``notes``: sentences that the reader must know, shown at the top.
    """

    title: str
    created: str
    tasks: tuple[TaskReport, ...]
    ingest: IngestReport | None = None
    pages: tuple[Page, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
