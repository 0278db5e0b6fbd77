"""One experiment from scratch and transferred, on several shares of its data → both curves, and what transfer saves."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import pandas as pd

from pipeline.config import ExperimentConfig
from pipeline.evaluation import Evaluation
from pipeline.evaluation.learning_curve import LearningCurve, Training, learning_curve
from pipeline.progress import Progress
from pipeline.reporting.learning_curve_figure import learning_curve_png
from pipeline.settings import Settings
from pipeline.stages.curve_members import SHARES, CurveMember, check_apart, curve_members, transferred_from
from pipeline.stages.experiment import DATASETS, SPLIT, case_rows, experiment_data
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train import train_version
from pipeline.stages.train_group import TrainOne, check_same_data, with_fixed_weights
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import TrackedRun, epoch_history, run_folder, tracked_run
from pipeline.tracking.session import prepare
from pipeline.training.module import VALIDATION_METRIC

CURVE = "transfer_curve"
_SUMMARY = "curve.json"


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """``run_id`` is the parent run; ``source`` what the transferred ones started from.

    ``children`` has one row a version: ``way share seed version run_id threshold``, its primary figure, and
    ``patients cases objects`` that it was trained on. ``sizes`` has those for each share, the smallest first, as means
    of the seeds. ``reused``: it was there before, nothing was done.
    """

    name: str
    run_id: str
    source: str
    children: tuple[dict[str, Any], ...]
    sizes: tuple[dict[str, float], ...]
    curve: LearningCurve
    reused: bool

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(str(child["version"]) for child in self.children)

    @property
    def picture(self) -> bytes:
        """Both curves as PNG."""
        return learning_curve_png(self.name, self.source, self.curve, self.sizes)

    def to_json(self) -> dict[str, object]:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return own | {"curve": self.curve.to_json()}


def transfer_curve(
    config: ExperimentConfig,
    settings: Settings,
    source: str | None = None,
    shares: Sequence[float] = SHARES,
    seeds: int = 3,
    steps_by_data: bool = False,
    progress: Progress | None = None,
    train_one: TrainOne | None = None,
) -> TransferCurve:
    """Train both ways in on every share from every seed, as runs below one parent run that carries their curves.

    Killed and given again, it continues in the same parent run; versions that are finished, also those that were
    trained alone, are not trained again. Weights to start from that are named by an alias are those it names now.

    Args:
        config: the experiment.
        settings: where things are.
        source: the version to transfer from; by default as `pipeline.stages.curve_members.curve_members`, which also
            says what ``shares``, ``seeds`` and ``steps_by_data`` are.
        shares: of the training patients.
        seeds: how many.
        steps_by_data: fewer data, fewer steps.
        progress: called while scans are read and networks trained.
        train_one: trains and registers one version; by default `train_version`.

    Raises:
        ConfigError: shares or seeds that make no curve, or nothing to transfer from.
        ModelError: there is no such version to transfer from.
        DatasetError: the data are too few or unsuitable, or changed while they were trained on.
        TrackingError: another process is at the same work.
    """
    prepare(settings, progress)
    config = with_fixed_weights(_with_source(config, source), settings)
    members = curve_members(config, shares, seeds, steps_by_data)
    data = experiment_data(config, settings, progress)
    check_apart(shares, data.split.summary()["train"]["patients"])
    key, tags = _key(members, data.split.digest), _tags(config, shares, seeds)
    with tracked_run(settings, config.name, key, tags, name=f"transfer curve {config.name}") as run:
        if run.finished:
            return _finished(config, run, settings)
        each = train_one or _training_each(len(members), settings, progress)
        trained = [(member, resolve(settings, each(member.config, run.run_id))) for member in members]
        check_same_data([record for _, record in trained], settings)
        found = [_Trained.of(member, record, settings) for member, record in trained]
        done = _summary(config, run.run_id, found)
        run.log_config(config)
        run.link_models([record.model_id for _, record in trained])
        run.link_figures(None, CaseTable(config.name, done.curve.test_set, "test", case_rows(data.split.test)))
        _log(run, done)
    return done


@dataclass(frozen=True, eq=False)
class _Trained:
    """A member with what came of it. ``used`` counts what it was trained on."""

    member: CurveMember
    record: VersionRecord
    evaluation: Evaluation
    validation: tuple[tuple[int, float], ...]
    used: dict[str, int]

    @classmethod
    def of(cls, member: CurveMember, record: VersionRecord, settings: Settings) -> Self:
        epochs = epoch_history(settings, record.run_id, VALIDATION_METRIC)
        validation = tuple((epoch * member.config.epoch_steps, figure) for epoch, figure in epochs.items())
        split = json.loads((run_folder(settings, record.run_id, DATASETS) / SPLIT).read_text(encoding="utf-8"))
        return cls(member, record, own_evaluation(record, settings), validation, split["train"])

    def row(self) -> dict[str, Any]:
        own = self.evaluation
        return {
            "way": self.member.way,
            "share": self.member.share,
            "seed": self.member.seed,
            "version": self.record.spec,
            "run_id": self.record.run_id,
            "threshold": own.threshold,
            **self.used,
            own.primary: own.metrics[own.primary].value,
        }


def _with_source(config: ExperimentConfig, source: str | None) -> ExperimentConfig:
    if source is None:
        return config
    tree = config.model_dump()
    tree["training"]["initial_weights"] = source
    return ExperimentConfig.model_validate(tree)


def _training_each(members: int, settings: Settings, progress: Progress | None) -> TrainOne:
    count = iter(range(1, members + 1))

    def train_one(config: ExperimentConfig, parent: str) -> str:
        number = next(count)

        def numbered(done: int, total: int, what: str) -> None:
            if progress:
                progress(done, total, f"{number} of {members}: {what}")

        return train_version(config, settings, numbered, parent, shift=False).spec

    return train_one


def _key(members: Sequence[CurveMember], data: str) -> str:
    parts = [CURVE, data, *sorted(f"{member.way}:{member.config.digest()}" for member in members)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _tags(config: ExperimentConfig, shares: Sequence[float], seeds: int) -> dict[str, str]:
    return {
        "cellscan.kind": CURVE,
        "cellscan.config_digest": config.digest(),
        "cellscan.transferred_from": transferred_from(config),
        "cellscan.shares": ",".join(f"{share:g}" for share in sorted(shares)),
        "cellscan.seeds": str(seeds),
    }


def _summary(config: ExperimentConfig, run_id: str, found: Sequence[_Trained]) -> TransferCurve:
    everything = max(one.used["patients"] for one in found)
    trainings = [
        Training(one.member.way, one.used["patients"] / everything, one.member.seed, one.evaluation, one.validation)
        for one in found
    ]
    steps = config.epoch_steps * config.training.max_epochs
    curve = learning_curve(trainings, config.evaluation, config.data.classes, steps, config.seed)
    rows = tuple(one.row() for one in found)
    return TransferCurve(config.name, run_id, transferred_from(config), rows, _sizes(rows), curve, False)


def _sizes(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, float], ...]:
    each = pd.DataFrame(rows).groupby("share")[["patients", "cases", "objects"]].mean().reset_index()
    return tuple({str(name): float(value) for name, value in row.items()} for row in each.to_dict("records"))


def _log(run: TrackedRun, done: TransferCurve) -> None:
    run.log_curve(done.curve, [int(size["patients"]) for size in done.sizes])
    for name, table in (("children", pd.DataFrame(done.children)), ("curve", done.curve.rows())):
        run.log_table(f"tables/{name}.json", table)
        run.log_text(f"tables/{name}.csv", table.to_csv(index=False))
    run.log_image(f"figures/{CURVE}.png", done.picture)
    run.describe(_told(done))
    run.log_json(f"{CURVE}/{_SUMMARY}", done.to_json())


def _told(done: TransferCurve) -> str:
    curve = done.curve
    return (
        f"From scratch, all data give {curve.primary} {curve.reference}. Transferred from {done.source}, that takes "
        f"{curve.needed_data} of the data and {curve.needed_steps} of the steps. Picture: figures/{CURVE}.png; "
        "tables/curve has a row a point, tables/children a row a version."
    )


def _finished(config: ExperimentConfig, run: TrackedRun, settings: Settings) -> TransferCurve:
    kept = json.loads((run_folder(settings, run.run_id, CURVE) / _SUMMARY).read_text(encoding="utf-8"))
    curve = LearningCurve.from_json(kept["curve"])
    children, sizes = tuple(kept["children"]), tuple(kept["sizes"])
    return TransferCurve(config.name, run.run_id, kept["source"], children, sizes, curve, True)
