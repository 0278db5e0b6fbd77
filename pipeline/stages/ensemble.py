"""Several versions of one network → one version that averages what they say."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from pipeline.config import ExperimentConfig
from pipeline.config.base import Config
from pipeline.config.experiment import MODEL_NAME
from pipeline.datasets.cases import Case
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.ensemble import Ensemble
from pipeline.errors import ConfigError, DatasetError, ModelError
from pipeline.evaluation import Evaluation
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.experiment import ExperimentData, data_of
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train import VERSION_TAG, evaluated_once, log_data, registered
from pipeline.tracking.registry import VersionRecord, resolve
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import prepare
from pipeline.training.choosing import with_thresholds

MEMBERS_TAG = "cellscan.members"
_BUNDLE = "bundle"


@dataclass(frozen=True, eq=False)
class EnsembleVersion:
    """``reused``: it was there before."""

    spec: str
    members: tuple[str, ...]
    threshold: float
    reused: bool
    evaluation: Evaluation

    def to_json(self) -> dict[str, object]:
        return {
            "version": self.spec,
            "members": self.members,
            "threshold": self.threshold,
            "reused": self.reused,
            "evaluation": self.evaluation.summary(),
        }


def ensemble_versions(
    name: str, versions: Sequence[str], settings: Settings, progress: Progress | None = None
) -> EnsembleVersion:
    """Register ``name/N``, whose network is those of ``versions``; it is used like any other version.

    Its experiment is that of the first. The data must have been divided alike for all: its threshold is chosen on
    the scans that validated them, and it is judged on those that tested them. Stopped and started again it continues.

    Args:
        name: of the model that it is a version of.
        versions: two or more: registered versions of networks that are alike but for their weights, such as those of
            ``cellscan train --seeds 0,1,2``.
        settings: where things are.
        progress: called as scans are detected on.

    Raises:
        ConfigError: ``name`` cannot be one.
        ModelError: there is no such version, one is an ensemble itself, or the networks differ.
        DatasetError: the members' data were divided differently, or have changed.
    """
    if not re.fullmatch(MODEL_NAME, name):
        raise ConfigError(f"a model's name has small letters, digits and _, such as cells_of_three, got {name!r}")
    prepare(settings, progress)
    records = _different([resolve(settings, version) for version in versions])
    bundles = [Bundle.load(record.bundle_folder) for record in records]
    for record, bundle in zip(records, bundles, strict=True):
        if isinstance(bundle.network, Ensemble):
            raise ModelError(f"{record.spec} is an ensemble itself: name its members, {record.tags.get(MEMBERS_TAG)}")
        _check_alike(records[0].spec, bundles[0].config, record.spec, bundle.config)
    data = data_of(records[0], bundles[0].config, settings)
    for record, bundle in zip(records[1:], bundles[1:], strict=True):
        if data_of(record, bundle.config, settings).split.digest != data.split.digest:
            raise DatasetError(
                f"the data of {records[0].spec} and {record.spec} were divided differently, so that one may have "
                "learnt from what judges the other: take versions of one division, such as those of cellscan train "
                "--seeds 0,1,2"
            )
    seen = reduce(Seen.joined, (bundle.seen for bundle in bundles))
    config = ExperimentConfig.model_validate(bundles[0].config.model_dump() | {"name": name})
    bundle = Bundle(config, Ensemble([one.network for one in bundles]), 0.5, seen)
    return _tracked(bundle, records, data, settings, progress)


def _tracked(
    draft: Bundle,
    records: Sequence[VersionRecord],
    data: ExperimentData,
    settings: Settings,
    progress: Progress | None,
) -> EnsembleVersion:
    config, specs, test = draft.config, tuple(record.spec for record in records), data.split.test
    key = _key(config.name, records)
    tags = {
        "cellscan.kind": "ensemble",
        "cellscan.config_digest": config.digest(),
        "cellscan.dataset_digest": data.split.digest,
        MEMBERS_TAG: ", ".join(specs),
    }
    title = f"ensemble {config.name} of {len(records)} {key[:6]}"
    with tracked_run(settings, config.name, key, tags, title) as run:
        if run.finished:
            record = resolve(settings, str(run.tag(VERSION_TAG)))
            threshold = Bundle.load(record.bundle_folder).threshold
            return EnsembleVersion(record.spec, specs, threshold, True, own_evaluation(record, settings))
        log_data(config, data, run)
        folder = settings.runs / key
        bundle = _chosen_once(draft, folder, data.split.validation, settings, progress)
        evaluation = evaluated_once(bundle, test, folder, settings, progress)
        evaluation = registered(run, folder / _BUNDLE, bundle, key, tags, evaluation, test, settings)
        run.set_tags({VERSION_TAG: evaluation.version})
    return EnsembleVersion(evaluation.version, specs, bundle.threshold, False, evaluation)


def _chosen_once(
    draft: Bundle, folder: Path, validation: Sequence[Case], settings: Settings, progress: Progress | None
) -> Bundle:
    """With its threshold, which another device could choose differently: what was begun with it goes on with it."""
    kept = folder / _BUNDLE
    if not kept.is_dir():
        part = folder / f"{_BUNDLE}.part"
        with_thresholds(draft, validation, settings, progress).save(part)
        part.rename(kept)
    return Bundle.load(kept)


def _different(records: list[VersionRecord]) -> list[VersionRecord]:
    specs = [record.spec for record in records]
    if len(set(specs)) < 2 or len(set(specs)) < len(specs):
        raise ModelError(f"an ensemble is of two or more different versions, got {', '.join(specs) or 'none'}")
    starters = [record.spec for record in records if record.is_starter]
    if starters:
        raise ModelError(f"{starters[0]} brings no record of its data: take versions that were trained here")
    return records


def _check_alike(spec: str, one: ExperimentConfig, other_spec: str, other: ExperimentConfig) -> None:
    for part in ("preprocessing", "detector", "data.classes", "data.dims", "data.grade"):
        here, there = _network_part(one, part), _network_part(other, part)
        if here != there:
            raise ModelError(
                f"{spec} and {other_spec} are different networks: {part} is {here} in one and {there} in the other. "
                "What they say of a place can be averaged only where they are alike but for their weights"
            )


def _network_part(config: ExperimentConfig, part: str) -> object:
    value = reduce(getattr, part.split("."), config)
    if not isinstance(value, Config):
        return value
    tree = value.model_dump(mode="json")
    if "backbone" in tree:
        tree["backbone"].pop("pretrained", None)  # only where weights begin
    return tree


def _key(name: str, records: Sequence[VersionRecord]) -> str:
    parts = ["ensemble", name, *(f"{record.spec} {record.run_id}" for record in records)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
