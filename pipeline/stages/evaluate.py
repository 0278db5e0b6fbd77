"""Any version on any annotated folder."""

from pathlib import Path

from pipeline.datasets.cases import Case
from pipeline.datasets.split import all_cases
from pipeline.detectors.bundle import Bundle
from pipeline.errors import ConfigError, DatasetError
from pipeline.evaluation import Evaluation
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import volumes_below
from pipeline.stages.ingest import ingest_archive
from pipeline.stages.scoring import own_evaluation, score_version
from pipeline.tracking.registry import resolve


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
        data: an annotated folder, ingested first; ``None`` gives what the version scored on its own test cases.
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
        return own_evaluation(record, settings)
    bundle = Bundle.load(record.bundle_folder)
    cases = _cases(bundle, data, settings, subset, progress)
    return score_version(record, bundle, cases, bundle.config.evaluation, settings, progress)


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
    return all_cases(bundle.config.data, volumes, bundle.config.seed)
