"""Several versions of one network → one version that averages what they say."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from statistics import fmean

from pipeline.config import ExperimentConfig
from pipeline.config.base import Config
from pipeline.datasets.cases import Case
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.ensemble import Ensemble
from pipeline.errors import DatasetError, ModelError
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


@dataclass(frozen=True, eq=False)
class EnsembleVersion:
    """``validated``: its threshold was chosen on scans that validated every member, else it is the members' mean.
    ``reused``: it was there before."""

    spec: str
    members: tuple[str, ...]
    threshold: float
    validated: bool
    reused: bool
    evaluation: Evaluation

    def to_json(self) -> dict[str, object]:
        return {
            "version": self.spec,
            "members": self.members,
            "threshold": self.threshold,
            "validated": self.validated,
            "reused": self.reused,
            "evaluation": self.evaluation.summary(),
        }


def ensemble_versions(
    name: str, versions: Sequence[str], settings: Settings, progress: Progress | None = None
) -> EnsembleVersion:
    """Register ``name/N``, whose network is those of ``versions``; it is used like any other version.

    Its experiment is that of the first. Its threshold is chosen on the scans that validated all members; members of
    different folds have none in common, and then it is the mean of theirs. It is judged on the test scans that no
    member has seen.

    Args:
        name: of the model that it is a version of.
        versions: two or more: registered versions of networks that are alike but for their weights, such as those of
            ``cellscan train --seeds 0,1,2``.
        settings: where things are.
        progress: called as scans are detected on.

    Raises:
        ModelError: there is no such version, or the networks differ.
        DatasetError: the members have seen all of the first one's test scans.
    """
    prepare(settings, progress)
    records = _different([resolve(settings, version) for version in versions])
    bundles = [Bundle.load(record.bundle_folder) for record in records]
    for record, bundle in zip(records[1:], bundles[1:], strict=True):
        _check_alike(records[0].spec, bundles[0].config, record.spec, bundle.config)
    data = [data_of(record, bundle.config, settings) for record, bundle in zip(records, bundles, strict=True)]
    seen = reduce(Seen.joined, (bundle.seen for bundle in bundles))
    test = [case for case in data[0].split.test if not seen.holds(case)]
    if not test:
        raise DatasetError(
            f"{', '.join(record.spec for record in records)} have together seen all test scans of the first, so that "
            "nothing is left to judge them by as one: take versions that were tested on the same scans, such as those "
            "of cellscan train --seeds"
        )
    config = ExperimentConfig.model_validate(bundles[0].config.model_dump() | {"name": name})
    bundle = Bundle(config, Ensemble([one.network for one in bundles]), 0.5, seen)
    return _tracked(bundle, bundles, records, data, test, settings, progress)


def _tracked(
    bundle: Bundle,
    members: Sequence[Bundle],
    records: Sequence[VersionRecord],
    data: Sequence[ExperimentData],
    test: Sequence[Case],
    settings: Settings,
    progress: Progress | None,
) -> EnsembleVersion:
    config, specs = bundle.config, tuple(record.spec for record in records)
    key = _key(config.name, records)
    tags = {
        "cellscan.kind": "ensemble",
        "cellscan.config_digest": config.digest(),
        "cellscan.dataset_digest": data[0].split.digest,
        MEMBERS_TAG: ", ".join(specs),
    }
    validation = _common_validation(data)
    title = f"ensemble {config.name} of {len(records)} {key[:6]}"
    with tracked_run(settings, config.name, key, tags, title) as run:
        if run.finished:
            record = resolve(settings, str(run.tag(VERSION_TAG)))
            threshold = Bundle.load(record.bundle_folder).threshold
            evaluation = own_evaluation(record, settings)
            return EnsembleVersion(record.spec, specs, threshold, bool(validation), True, evaluation)
        log_data(config, data[0], run)
        folder = settings.runs / key
        bundle = _with_thresholds(bundle, members, validation, settings, progress)
        bundle.save(folder / "bundle")
        evaluation = evaluated_once(bundle, test, folder, settings, progress)
        evaluation = registered(run, folder / "bundle", bundle, key, tags, evaluation, test, settings)
        run.set_tags({VERSION_TAG: evaluation.version})
    return EnsembleVersion(evaluation.version, specs, bundle.threshold, bool(validation), False, evaluation)


def _with_thresholds(
    bundle: Bundle,
    members: Sequence[Bundle],
    validation: Sequence[Case],
    settings: Settings,
    progress: Progress | None,
) -> Bundle:
    if validation:
        return with_thresholds(bundle, validation, settings, progress)
    own = [one.class_thresholds for one in members]
    mean = None if None in own else tuple(map(fmean, zip(*own, strict=True)))
    return replace(bundle, threshold=fmean(one.threshold for one in members), class_thresholds=mean)


def _common_validation(data: Sequence[ExperimentData]) -> list[Case]:
    """The first one's validation cases that are so for all, if they are enough to choose by: all of them."""
    first, *others = ({case.case_id for case in one.split.validation} for one in data)
    return list(data[0].split.validation) if all(other == first for other in others) else []


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
