"""One experiment on several folds, from several seeds, or both → a version each, and their figures as one."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from pipeline.config import ExperimentConfig
from pipeline.config.data import FoldSplit
from pipeline.errors import ConfigError, DatasetError
from pipeline.evaluation.pooled import Child, Pooled, pool
from pipeline.evaluation.records import Estimate
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import DATASETS, VOLUMES, experiment_data
from pipeline.stages.initial import is_path
from pipeline.stages.pictures import group_pictures
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train import train_version
from pipeline.tracking.dataset import CaseTable
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import TrackedRun, run_folder, tracked_run
from pipeline.tracking.session import prepare

GROUP = "group"
_SUMMARY = "group.json"
Folds = Literal["all"] | Sequence[int]
TrainOne = Callable[[ExperimentConfig, str], str]
"""One version's experiment and its parent run's id → the version, as ``name/3``."""


@dataclass(frozen=True)
class Member:
    """One training of a group. ``fold`` is `None` where the data are not divided into folds."""

    fold: int | None
    seed: int
    config: ExperimentConfig


@dataclass(frozen=True, eq=False)
class TrainedGroup:
    """``run_id`` is the parent run; ``children`` one row a version: ``fold seed version run_id threshold …``.

    ``pooled`` is `Pooled.summary`. ``reused``: it was there before, nothing was done.
    """

    name: str
    run_id: str
    children: tuple[dict[str, Any], ...]
    pooled: dict[str, Any]
    reused: bool

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(str(child["version"]) for child in self.children)

    @property
    def metrics(self) -> dict[str, Estimate]:
        return {name: Estimate(**one) for name, one in self.pooled["metrics"].items()}

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def train_group(
    config: ExperimentConfig,
    settings: Settings,
    folds: Folds | None = None,
    seeds: Sequence[int] | None = None,
    progress: Progress | None = None,
    train_one: TrainOne | None = None,
) -> TrainedGroup:
    """Train every fold from every seed, as runs below one parent run that carries their pooled figures.

    Killed and given again, it continues in the same parent run; versions that are finished, also those that were
    trained alone, are not trained again. Weights to start from that are named by an alias are those it names now.

    Args:
        config: the experiment.
        settings: where things are.
        folds: which of ``data.split.folds``; ``"all"``, or `None` for the experiment's own.
        seeds: of first weights and patches; `None` for the experiment's own. The division of the data stays.
        progress: called while scans are read and networks trained.
        train_one: trains and registers one version; by default `train_version`.

    Raises:
        ConfigError: a fold is asked for that there is not, or one fold or seed twice.
        DatasetError: its data are too few or unsuitable, or changed while it was trained.
        TrackingError: another process is at the same work.
    """
    prepare(settings, progress)
    config = with_fixed_weights(config, settings)
    members = members_of(config, folds, seeds)
    data = experiment_data(config, settings, progress)
    key = _key(members, data.split.digest)
    with tracked_run(settings, config.name, key, _tags(config, members), name=_title(config, members)) as run:
        if run.finished:
            return _finished(config.name, run, settings)
        each = train_one or (lambda one, parent: train_version(one, settings, progress, parent).spec)
        trained = [(member, resolve(settings, each(member.config, run.run_id))) for member in members]
        check_same_data([record for _, record in trained], settings)
        children = [Child(member.fold, member.seed, own_evaluation(record, settings)) for member, record in trained]
        pooled = pool(children, config.evaluation, config.data.classes, config.seed)
        rows = tuple(child_row(child, record.run_id) for child, (_, record) in zip(children, trained, strict=True))
        run.log_config(config)
        run.link_models([record.model_id for _, record in trained])
        run.link_figures(None, CaseTable(config.name, pooled.test_set, "pooled", pooled.case_rows()))
        run.log_pooled(pooled)
        run.describe(_told(members, pooled))
        _log_tables(run, pooled, rows)
        for name, png in group_pictures(_title(config, members), pooled, rows).items():
            run.log_image(f"figures/{name}.png", png)
        done = TrainedGroup(config.name, run.run_id, rows, pooled.summary(), False)
        run.log_json(f"{GROUP}/{_SUMMARY}", done.to_json())
    return done


def members_of(config: ExperimentConfig, folds: Folds | None, seeds: Sequence[int] | None) -> tuple[Member, ...]:
    """Every fold with every seed, in order.

    A member that is the experiment as it stands has its very configuration, so that it is not trained twice.

    Raises:
        ConfigError: see `train_group`.
    """
    split = config.data.split
    numbers: Sequence[int | None]
    if isinstance(split, FoldSplit):
        asked = range(split.folds) if folds == "all" else [split.fold] if folds is None else folds
        numbers = _each_once("fold", [int(fold) for fold in asked])
        wrong = [fold for fold in numbers if fold is not None and not 0 <= fold < split.folds]
        if wrong:
            raise ConfigError(f"folds are numbered 0 … {split.folds - 1} (data.split.folds), got {wrong}")
    elif folds is not None:
        raise ConfigError(f"data.split.kind is {split.kind!r}: only an experiment that is split by folds has folds")
    else:
        numbers = [None]
    chosen = _each_once("seed", [config.training_seed] if seeds is None else list(seeds))
    return tuple(Member(fold, seed, member_config(config, fold, seed)) for fold in numbers for seed in chosen)


def child_row(child: Child, run_id: str) -> dict[str, Any]:
    """What a version of a group is, and its figures without intervals."""
    own = child.evaluation
    return {
        "fold": child.fold,
        "seed": child.seed,
        "version": own.version,
        "run_id": run_id,
        "threshold": own.threshold,
        "patients": int(own.cases["patient_key"].nunique()),
        "cases": len(own.cases),
        "objects": int(own.cases["objects"].sum()),
        **{name: one.value for name, one in own.metrics.items()},
    }


def _each_once(what: str, numbers: list[int]) -> list[int]:
    if not numbers:
        raise ConfigError(f"name at least one {what}")
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"each {what} once, got {numbers}")
    if min(numbers) < 0:
        raise ConfigError(f"a {what} is 0 or more, got {numbers}")
    return numbers


def member_config(config: ExperimentConfig, fold: int | None, seed: int) -> ExperimentConfig:
    tree = config.model_dump()
    if fold is not None:
        tree["data"]["split"]["fold"] = fold
    if seed != config.training_seed:
        tree["training"]["seed"] = None if seed == config.seed else seed
    return ExperimentConfig.model_validate(tree)


def with_fixed_weights(config: ExperimentConfig, settings: Settings) -> ExperimentConfig:
    """An alias may move while a group is trained; all its members start from the same weights."""
    named = config.training.initial_weights
    if named is None or is_path(named) or "@" not in named:
        return config
    tree = config.model_dump()
    tree["training"]["initial_weights"] = resolve(settings, named).spec
    return ExperimentConfig.model_validate(tree)


def _key(members: Sequence[Member], data: str) -> str:
    parts = ["group", data, *sorted(member.config.digest() for member in members)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _tags(config: ExperimentConfig, members: Sequence[Member]) -> dict[str, str]:
    return {
        "cellscan.kind": GROUP,
        "cellscan.config_digest": config.digest(),
        "cellscan.folds": _listed(members, "fold"),
        "cellscan.seeds": _listed(members, "seed"),
    }


def _title(config: ExperimentConfig, members: Sequence[Member]) -> str:
    told = [f"{what}s {_listed(members, what)}" for what in ("fold", "seed") if _listed(members, what)]
    return f"group {config.name} {' '.join(told)}"


def _told(members: Sequence[Member], pooled: Pooled) -> str:
    over = "every scan judged once, by the version that did not see it" if _listed(members, "fold") else "all scans"
    mean = "; each figure is the mean over the seeds" if _listed(members, "seed").count(",") else ""
    return (
        f"{len(members)} versions together, {over}{mean}: {pooled.primary} {pooled.metrics[pooled.primary]}. Picture: "
        "figures/children.png; tables/children has a row a version, tables/cases a row a case and version."
    )


def _listed(members: Sequence[Member], what: str) -> str:
    return ",".join(str(one) for one in dict.fromkeys(getattr(member, what) for member in members) if one is not None)


def check_same_data(records: Sequence[VersionRecord], settings: Settings) -> None:
    """Each training takes in what is new in the folder: what came between two of them is not what the others saw."""
    kept = [run_folder(settings, record.run_id, DATASETS) / VOLUMES for record in records]
    volumes = {tuple(json.loads(path.read_text(encoding="utf-8"))["volume_ids"]) for path in kept}
    if len(volumes) > 1:
        raise DatasetError(
            f"scans were added or taken away while the group was trained ({sorted(len(ids) for ids in volumes)} scans "
            "in its trainings): give the command again; what was trained on other scans is trained anew"
        )


def _log_tables(run: TrackedRun, pooled: Pooled, rows: Sequence[dict[str, Any]]) -> None:
    for name, table in (("children", pd.DataFrame(rows)), ("cases", pooled.cases)):
        run.log_table(f"tables/{name}.json", table)
        run.log_text(f"tables/{name}.csv", table.to_csv(index=False))


def _finished(name: str, run: TrackedRun, settings: Settings) -> TrainedGroup:
    kept = json.loads((run_folder(settings, run.run_id, GROUP) / _SUMMARY).read_text(encoding="utf-8"))
    return TrainedGroup(name, run.run_id, tuple(kept["children"]), kept["pooled"], True)
