"""A registered version → a starter model: half the size, with a licence and a card, and without whose data it saw."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.config import ExperimentConfig
from pipeline.config.data import FoldSplit
from pipeline.config.detector import StarOutline
from pipeline.datasets.cases import Case
from pipeline.datasets.seen import Seen
from pipeline.datasets.split import CaseSplit
from pipeline.detectors.bundle import Bundle
from pipeline.detectors.ensemble import Ensemble
from pipeline.errors import ModelError
from pipeline.evaluation import Evaluation
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.half import Agreement, agreement_of
from pipeline.progress import Progress
from pipeline.reporting.model_card import CardRow, card_rows, kind_of
from pipeline.reporting.naming import counted, metric_name
from pipeline.reporting.starter_card import starter_card
from pipeline.settings import Settings
from pipeline.stages.experiment import data_of
from pipeline.stages.scoring import own_evaluation
from pipeline.stages.train import SECONDS_TAG
from pipeline.starters import shelf as shelves
from pipeline.starters.shelf import CARD, STARTER, Starter, digest_of, is_starter
from pipeline.starters.sources import DataSource, shippable_source
from pipeline.tracking.provenance import code_tags
from pipeline.tracking.registry import DIGEST_TAG, VersionRecord, resolve
from pipeline.tracking.run import run_tags

LARGEST_BYTES = 8_000_000
_CASES, _ENOUGH = 40, 1000
_OBJECT_SHARES = (5, 50, 95)


def make_starter(
    version: str, name: str, settings: Settings, shelf: Path | None = None, progress: Progress | None = None
) -> Starter:
    """Write a registered version as starter model ``name``; one of that name is replaced.

    Its weights are halved where they survive it (`pipeline.detectors.halved`), and its detections compared with those
    of the version, on validation cases, until 1,000 are or 40 cases are through: 99 of 100 must be the same, as
    `agreement_of` says. Of whom it saw, digests of voxels are kept and keys of patients are not: those mean nothing
    outside of this home folder.

    Args:
        version: ``name/3`` or ``name@champion``.
        name: of the starter: small letters, digits and dashes.
        settings: where things are.
        shelf: where starters are; by default in the package, from where they are shipped.
        progress: called while the validation cases are detected on.

    Raises:
        ModelError: there is no such version, it is an ensemble, its data may not be shipped, the halved one detects
            otherwise, or it is larger than 8 MB.
        DatasetError: the version's data have changed, or are gone.
    """
    shelf = shelf or shelves.SHELF
    if not is_starter(f"{STARTER}/{name}"):
        raise ModelError(f"a starter's name has small letters, digits and dashes, such as nuclei-2d, got {name!r}")
    record = resolve(settings, version)
    bundle = Bundle.load(record.bundle_folder)
    if isinstance(bundle.network, Ensemble):
        raise ModelError(f"{version} is an ensemble of several networks, and a starter is one: take one of its members")
    source = shippable_source(bundle.config)
    evaluation = own_evaluation(record, settings)
    split = data_of(record, bundle.config, settings).split
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        shipped = _without_owner(bundle, source)
        shipped.save(folder, half=True)
        agreement = _compared(bundle, Bundle.load(folder), split.validation, settings, progress)
        made = _described(record, shipped.config, evaluation, source, folder)
        rows = [
            *card_rows(shipped.config, evaluation, {}, _unit(split)),
            *_own_rows(record, shipped.config, split, settings),
            _halved_row(agreement, made),
        ]
        (folder / CARD).write_text(starter_card(made, source, rows, evaluation), encoding="utf-8")
        made.write()
        _check_size(folder)
        return _put(folder, shelf / name)


def _without_owner(bundle: Bundle, source: DataSource) -> Bundle:
    """Without this home's keys of patients, and without the path at which the data lay here."""
    data = bundle.config.data.model_copy(update={"source": source.folder})
    config = bundle.config.model_copy(update={"data": data})
    return replace(bundle, config=config, seen=Seen(volumes=bundle.seen.volumes))


def _compared(
    whole: Bundle, half: Bundle, cases: Sequence[Case], settings: Settings, progress: Progress | None
) -> Agreement:
    detectors = [VolumeDetector(_in_32_bits(bundle), settings.device) for bundle in (whole, half)]
    total = Agreement(0, 0)
    used = cases[:_CASES]
    for n, case in enumerate(used):
        exact, quick = (one.detect(case.array, case.grid, case.volume.volume_id) for one in detectors)
        found = agreement_of(exact, quick, whole.threshold)
        total = Agreement(total.counted + found.counted, total.matched + found.matched)
        if progress:
            progress(n + 1, len(used), "detecting with half the weights and with all")
        if total.counted >= _ENOUGH:
            break
    if not total.counted or not total.holds:
        raise ModelError(
            f"of {total.counted} detections on validation cases {total.matched} are the same with halved weights, "
            "expected at least 99 % of one or more"
        )
    return total


def _in_32_bits(bundle: Bundle) -> Bundle:
    inference = bundle.config.inference.model_copy(update={"precision": "32"})
    return replace(bundle, config=bundle.config.model_copy(update={"inference": inference}))


def _described(
    record: VersionRecord, config: ExperimentConfig, evaluation: Evaluation, source: DataSource, folder: Path
) -> Starter:
    figure = evaluation.metrics[evaluation.primary]
    counts = evaluation.counts
    scans = f"{counted(counts['cases'], 'test case')} of {counted(counts['patients'], _group(config))}"
    return Starter(
        name=folder.name,
        folder=folder,
        digest=digest_of(folder),
        finds=_found(config, source),
        tested=f"{metric_name(evaluation.primary)} {figure} on {scans}",
        data=source.title,
        licence=source.licence,
        credit=source.credit,
        cellscan=code_tags()["cellscan.version"],
        made_at=record.registered_at,
    )


def _found(config: ExperimentConfig, source: DataSource) -> str:
    shape = "star-convex outlines" if isinstance(config.detector.outline, StarOutline) else "boxes"
    graded = f", with {config.data.grade.name}" if config.data.grade else ""
    only = "".join(f", {name} {value}" for name, value in config.data.where.items())
    return f"{kind_of(config)}, as {shape}{graded}; {source.scans}{only}"


def _group(config: ExperimentConfig) -> str:
    """What one is resampled by, and is on one side alone."""
    return "look" if isinstance(config.data.split, FoldSplit) and config.data.split.group_by == "look" else "patient"


def _own_rows(record: VersionRecord, config: ExperimentConfig, split: CaseSplit, settings: Settings) -> list[CardRow]:
    return [
        CardRow("Sides", _sides(split, _group(config))),
        CardRow("Objects", _object_sizes(split)),
        CardRow("Trained for", _length(run_tags(settings, record.run_id))),
        CardRow("Made from", f"{record.spec}, digest {record.tags[DIGEST_TAG][:16]}"),
    ]


def _sides(split: CaseSplit, group: str) -> str:
    told = [
        f"{side} {counted(of['cases'], 'case')} of {counted(of['patients'], group)} with "
        f"{counted(of['objects'], 'object')}"
        for side, of in split.summary().items()
    ]
    means = " (fields of the same size and appearance, where no patient is known)" if group == "look" else ""
    return f"{'; '.join(told)}; no {group}{means} is on the test side and on another"


def _object_sizes(split: CaseSplit) -> str:
    boxes = [case.annotations.boxes for case in split.train]
    low, middle, high = np.percentile(np.concatenate([one.sizes_world.max(axis=1) for one in boxes]), _OBJECT_SHARES)
    unit = _unit(split)
    return (
        f"trained on objects whose longest edge is {low:.3g} … {high:.3g} {unit} (nine of ten), {middle:.3g} {unit} in "
        "the middle; others must be resampled to that, or trained on"
    )


def _length(tags: dict[str, str]) -> str:
    steps, device = (tags.get(f"cellscan.training.{fact}", "unknown") for fact in ("steps", "device"))
    return f"{steps} steps, {float(tags.get(SECONDS_TAG, 'nan')) / 60:.1f} minutes on {device}"


def _halved_row(agreement: Agreement, made: Starter) -> CardRow:
    size = (made.folder / "weights.safetensors").stat().st_size
    return CardRow(
        "Weights",
        f"16-bit floats, {size / 1e6:.1f} MB; {agreement.matched} of {agreement.counted} detections on validation "
        "cases are the same as with 32 bits (scores within 0.02, edges within half a voxel); the figures are those of "
        "32 bits",
    )


def _unit(split: CaseSplit) -> str:
    return split.test[0].grid.unit


def _check_size(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST_BYTES:
        raise ModelError(f"the starter has {size / 1e6:.1f} MB, and at most {LARGEST_BYTES / 1e6:g} MB are shipped")


def _put(folder: Path, place: Path) -> Starter:
    for path in folder.iterdir():
        path.chmod(0o644)  # the file of weights is written for its owner alone
    if place.exists():
        shutil.rmtree(place)
    shutil.move(folder, place)
    return shelves.read(place)
