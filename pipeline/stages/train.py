"""One experiment → one registered version with its evaluation."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.config.data import FoldSplit
from pipeline.datasets.cases import Case
from pipeline.detectors.bundle import Bundle
from pipeline.evaluation import Evaluation, evaluate
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import (
    DATASETS,
    SPLIT,
    VOLUMES,
    ExperimentData,
    case_rows,
    experiment_data,
    volumes_record,
)
from pipeline.stages.explaining import log_translation
from pipeline.stages.initial import InitialWeights
from pipeline.stages.scoring import EVALUATION, log_evaluation, own_evaluation
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.registry import register, resolve
from pipeline.tracking.run import PRIMARY_TAG, TEST_SET_TAG, TrackedRun, tracked_run
from pipeline.tracking.session import prepare
from pipeline.training.train import TrainingResult, train

VERSION_TAG = "cellscan.model"
SECONDS_TAG = "cellscan.training_seconds"
INITIAL_TAG = "cellscan.initial_digest"  # of the weights that training.initial_weights named when it began


@dataclass(frozen=True, eq=False)
class TrainedVersion:
    """``seconds`` in the training loop, over all starts. ``reused``: it was there before, nothing was done."""

    name: str
    version: str
    run_id: str
    seconds: float
    reused: bool
    evaluation: Evaluation

    @property
    def spec(self) -> str:
        return f"{self.name}/{self.version}"

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "version": self.version,
            "run_id": self.run_id,
            "seconds": self.seconds,
            "reused": self.reused,
            "evaluation": self.evaluation.summary(),
        }


def train_version(
    config: ExperimentConfig,
    settings: Settings,
    progress: Progress | None = None,
    parent: str | None = None,
    shift: bool = True,
) -> TrainedVersion:
    """Train an experiment on what its folder holds now, evaluate it on its test cases, register it.

    The work is named by configuration, data and the weights it starts from. Stopped anywhere and started again it
    continues; finished, it is given back as it is. ``parent`` is the MLflow run of the folds or seeds it is one of.
    Without ``shift`` the translation test is left until somebody asks for the version's explanation.

    Raises:
        SourceError: the experiment's folder is not there.
        DatasetError: its data are too few or unsuitable.
        TrackingError: another process is at the same work.
    """
    prepare(settings, progress)
    data = experiment_data(config, settings, progress)
    initial = _initial(config, settings)
    key = _run_key(config, data, initial)
    tags = {
        "cellscan.kind": "train",
        "cellscan.config_digest": config.digest(),
        "cellscan.dataset_digest": data.split.digest,
        **({INITIAL_TAG: initial.digest} if initial else {}),
    }
    with tracked_run(settings, config.name, key, tags, _title(config, key), parent) as run:
        if run.finished:
            return _finished(config, run, settings)
        folder = settings.runs / key
        result = _train(config, data, folder, settings, initial, run, progress)
        bundle = Bundle.load(result.bundle_folder)
        evaluation = evaluated_once(bundle, data.split.test, folder, settings, progress)
        evaluation = registered(run, result.bundle_folder, bundle, key, tags, evaluation, data.split.test, settings)
        if shift:
            log_translation(run, bundle, data.split.test, settings, progress)
        run.set_tags({VERSION_TAG: evaluation.version, SECONDS_TAG: f"{result.seconds:.1f}"})
    version = evaluation.version.rpartition("/")[2]
    return TrainedVersion(config.name, version, run.run_id, result.seconds, False, evaluation)


def registered(
    run: TrackedRun,
    folder: Path,
    bundle: Bundle,
    key: str,
    tags: dict[str, str],
    evaluation: Evaluation,
    test: Sequence[Case],
    settings: Settings,
) -> Evaluation:
    """Register the bundle in ``folder`` as a version of its experiment's name, with what it scored on ``test``.

    Returns:
        The evaluation, which names the version now.
    """
    name = bundle.config.name
    version = register(settings, run.run_id, folder, name, key, _version_tags(tags, evaluation), bundle.threshold)
    evaluation = replace(evaluation, version=f"{name}/{version}")
    cases = CaseTable(name, evaluation.test_set, "test", case_rows(test))
    run.link_figures(resolve(settings, evaluation.version).model_id, cases)
    log_evaluation(run, evaluation)
    return evaluation


def _train(
    config: ExperimentConfig,
    data: ExperimentData,
    folder: Path,
    settings: Settings,
    initial: InitialWeights | None,
    run: TrackedRun,
    progress: Progress | None,
) -> TrainingResult:
    log_data(config, data, run)

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        run.log_epoch(epoch, _epoch_figures(figures))

    weights = initial.load() if initial else None
    result = train(config, data.split, folder, settings, weights, on_epoch, progress)
    for figures in result.history:  # epochs whose start was killed between training and logging
        run.log_epoch(int(figures["epoch"]), _epoch_figures(figures))
    run.set_tags({f"cellscan.training.{name}": str(fact) for name, fact in result.facts.items()})
    return result


def log_data(config: ExperimentConfig, data: ExperimentData, run: TrackedRun) -> None:
    """The experiment, and what `pipeline.stages.experiment.data_of` finds its data by."""
    run.log_config(config)
    for side, cases in data.split.sides().items():
        if side != "test":  # logged with its evaluation, by the digest of which test sets are told apart
            context = {"train": "training"}.get(side, side)
            run.log_cases(CaseTable(config.name, data.split.digest, context, case_rows(cases)))
    run.log_json(f"{DATASETS}/{VOLUMES}", volumes_record(data))
    run.log_json(f"{DATASETS}/{SPLIT}", data.split.summary())


def _epoch_figures(figures: dict[str, float]) -> dict[str, float]:
    return {f"epoch_{n}" if n.endswith("seconds") else n: value for n, value in figures.items() if n != "epoch"}


def evaluated_once(
    bundle: Bundle,
    test: Sequence[Case],
    folder: Path,
    settings: Settings,
    progress: Progress | None,
) -> Evaluation:
    """The test cases are detected on once, also when registering is tried again. The version has no number yet."""
    config, kept = bundle.config, folder / EVALUATION
    if (kept / "evaluation.json").is_file():  # written last
        return Evaluation.load(kept)
    scored = score_cases(VolumeDetector(bundle, settings.device), test, progress)
    evaluation = evaluate(scored, config.evaluation, config.data.classes, config.name, bundle.threshold, config.seed)
    evaluation.save(kept)
    return evaluation


def _version_tags(tags: dict[str, str], evaluation: Evaluation) -> dict[str, str]:
    figure = evaluation.metrics[evaluation.primary]
    return {
        **tags,
        PRIMARY_TAG: evaluation.primary,
        TEST_SET_TAG: evaluation.test_set,
        "cellscan.primary_figure": str(figure),
    }


def _title(config: ExperimentConfig, key: str) -> str:
    split = config.data.split
    fold = f" fold {split.fold}" if isinstance(split, FoldSplit) else ""
    share = f" share {config.data.share:g}" if config.data.share < 1 else ""
    return f"train {config.name}{fold}{share} seed {config.training_seed} {key[:6]}"


def _finished(config: ExperimentConfig, run: TrackedRun, settings: Settings) -> TrainedVersion:
    record = resolve(settings, str(run.tag(VERSION_TAG)))
    evaluation = own_evaluation(record, settings)
    seconds = float(run.tag(SECONDS_TAG) or "nan")
    return TrainedVersion(config.name, record.version, run.run_id, seconds, True, evaluation)


def _initial(config: ExperimentConfig, settings: Settings) -> InitialWeights | None:
    name = config.training.initial_weights
    return None if name is None else InitialWeights.named(name, settings)


def _run_key(config: ExperimentConfig, data: ExperimentData, initial: InitialWeights | None) -> str:
    # An alias such as @champion moves; the weights that it named when the work began do not.
    parts = [config.digest(), data.split.digest, initial.digest if initial else ""]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
