"""What a report shows of the test cases: gallery, viewer, and why the network says what it says."""

from dataclasses import dataclass

from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.progress import Progress
from pipeline.reporting.explained import ExplainedPicture
from pipeline.reporting.gallery import CasePicture, gallery
from pipeline.reporting.versus import Other
from pipeline.reporting.viewed import CaseViews, case_views
from pipeline.settings import Settings
from pipeline.stages.explaining import explained
from pipeline.stages.report_subject import Subject
from pipeline.types import Image


@dataclass(frozen=True, eq=False)
class Shown:
    gallery: tuple[CasePicture, ...] = ()
    views: CaseViews | None = None
    explained: tuple[ExplainedPicture, ...] = ()


def shown_cases(subject: Subject, settings: Settings, viewer_bytes: int, progress: Progress | None = None) -> Shown:
    """Everything that a report shows of a subject's cases, from one pass of each version over them."""
    if not subject.cases:
        return Shown(explained=explained(subject.record, subject.bundle, (), settings))
    bundle, by_id = subject.bundle, {case.case_id: case for case in subject.cases}
    scored = score_cases(VolumeDetector(bundle, settings.device), subject.cases, progress)
    match, intensity = bundle.config.evaluation.match, bundle.config.preprocessing.intensity

    def read(case_id: str) -> Image:
        return by_id[case_id].array

    views = case_views(
        scored,
        read,
        match,
        bundle.threshold,
        intensity=intensity,
        limit=viewer_bytes,
        other=_other(subject, settings, progress),
    )
    return Shown(
        gallery=gallery(scored, read, match, bundle.threshold, intensity=intensity),
        views=views,
        explained=explained(subject.record, bundle, subject.cases, settings, progress),
    )


def _other(subject: Subject, settings: Settings, progress: Progress | None) -> Other | None:
    other, bundle = subject.other, subject.other_bundle
    if other is None or bundle is None:
        return None
    scored = score_cases(VolumeDetector(bundle, settings.device), subject.cases, progress)
    return Other(other.spec, tuple(scored), bundle.threshold)
