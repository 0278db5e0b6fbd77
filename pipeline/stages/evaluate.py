"""Any version on any annotated folder."""

from pathlib import Path

from pipeline.datasets.cases import Case
from pipeline.datasets.split import all_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, DatasetError, TrackingError
from pipeline.evaluation import Evaluation
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.sources.ingest import IngestSummary
from pipeline.stages.experiment import data_of, volumes_below
from pipeline.stages.ingest import ingest_archive
from pipeline.stages.scoring import own_evaluation, score_version
from pipeline.tracking.asking import may_pass
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import keep_evaluation


def evaluate_version(
    version: str,
    data: Path | str | None,
    settings: Settings,
    subset: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a registered version.

    Args:
        version: ``name/3`` or ``name@champion``.
        data: an annotated folder, ingested first; ``None`` gives what the version scored on its own test cases, which
            are detected on again where that was lost.
        settings: where things are.
        subset: of ``data``, only what its index calls ``train``, ``validation`` or ``test``.
        progress: called while scans are read and detected on.

    Returns:
        The evaluation; ``counts["left_out_as_trained_on"]`` says how many cases of ``data`` were left out because
        their patients shaped the version.

    Raises:
        ModelError: there is no such version.
        DatasetError: the folder has no suitable annotated scan, or only those the version was trained on.
    """
    record = resolve(settings, version)
    if data is None:
        if subset is not None:
            raise ConfigError(f"subset {subset!r} chooses from a folder: name it as data (--data)")
        return _own(record, settings, progress)
    bundle = Bundle.load(record.bundle_folder)
    cases = _cases(bundle, data, settings, subset, progress)
    return score_version(record, bundle, cases, bundle.config.evaluation, settings, progress)


def _own(record: VersionRecord, settings: Settings, progress: Progress | None) -> Evaluation:
    """What is kept with the version; where that is damaged or gone, it is scored again and kept in its place."""
    try:
        return own_evaluation(record, settings)
    except TrackingError as error:
        if may_pass(error):
            raise
    bundle = Bundle.load(record.bundle_folder)
    cases = data_of(record, bundle.config, settings).split.test
    evaluation = score_version(record, bundle, cases, bundle.config.evaluation, settings, progress)
    keep_evaluation(settings, record.run_id, evaluation)
    return evaluation


def _cases(
    bundle: Bundle, data: Path | str, settings: Settings, subset: str | None, progress: Progress | None
) -> tuple[Case, ...]:
    ingested = ingest_archive(data, settings, progress)
    volumes = volumes_below(ingested.root, settings)
    if subset is not None:
        named = sorted({volume.subset for volume in volumes if volume.subset})
        volumes = [volume for volume in volumes if volume.subset == subset]
        if not volumes:
            raise DatasetError(f"no scan of the folder is in subset {subset!r}; its index names {named or 'no subset'}")
    try:
        return all_cases(bundle.config.data, volumes, bundle.config.seed)
    except DatasetError as error:
        raise DatasetError(f"{error}{_told_of_files(ingested)}") from error


def _told_of_files(ingested: IngestSummary) -> str:
    """What became of the files, where they gave no scan."""
    if not ingested.files:
        return "; the folder has no file"
    reasons = [file.reason for file in ingested.files if file.outcome == "quarantined"]
    if not reasons:
        return ""
    return f"; {len(reasons)} of {len(ingested.files)} files were quarantined, the first because: {reasons[0]}"
