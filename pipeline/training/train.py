"""Train one experiment. Started again, it continues; finished, it returns at once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.prepared import PreparedCase
from pipeline.datasets.samples import Batch, collate
from pipeline.datasets.sampling import PatchDataset
from pipeline.datasets.seen import Seen
from pipeline.datasets.split import CaseSplit
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.detector import Detector
from pipeline.detectors.transfer import transfer
from pipeline.devices import resolve_device
from pipeline.errors import DatasetError
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.training.choosing import with_thresholds
from pipeline.training.diary import Diary, OnEpoch, epochs_in, history, write
from pipeline.training.fit import Fit, total_steps, training_module
from pipeline.training.precision import Precision, choose_precision
from pipeline.training.prepared import prepare_cases
from pipeline.training.ranks import Rank
from pipeline.training.stopping import Patience
from pipeline.training.team import leading, process_count

_FINISHED, _PRECISION = "finished.json", "precision.json"


@dataclass(frozen=True)
class TrainingResult:
    """``history`` has one row an epoch. ``seconds`` is time spent in the training loop, over all starts.

    ``facts`` are how it went: steps, samples a second, precision and why, device, processes, steps that were skipped,
    what was transferred.
    """

    bundle_folder: Path
    history: tuple[dict[str, float], ...]
    best_epoch: int
    seconds: float
    resumed_from: int | None
    reused: bool
    facts: dict[str, Any] = field(default_factory=dict)


def train(
    config: ExperimentConfig,
    split: CaseSplit,
    folder: Path,
    settings: Settings,
    initial: Bundle | None = None,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train, keep the epoch that validates best, choose its score threshold, and write its bundle.

    Args:
        config: the experiment.
        split: its cases.
        folder: of this run; holds checkpoints, history and the bundle. What it holds already is continued.
        settings: for the cache and the devices.
        initial: weights to transfer from.
        on_epoch: called with the epoch and its figures, those of earlier starts not repeated.
        progress: called as epochs pass.
    """
    done = _finished(folder)
    if done is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(resolve_device(settings.device))
    prepared = prepare_cases(config, split.train, settings, progress)
    network = seeded_network(config)
    told = _transferred(config, initial, split, network, folder, progress)
    precision = _precision(config, network, prepared, device, folder, progress)
    patience = Patience(config.training.patience)
    diary = Diary(folder, config, patience, on_epoch, progress)
    fit = Fit(config, split, folder, settings, str(device), precision.name)
    resumed_from = epochs_in(fit.last)
    count = process_count(settings, device)
    with leading(count, device, fit) as rank:
        fit.run(network, prepared, rank, patience, diary)
    best_weights = torch.load(folder / "best.ckpt", weights_only=True, map_location="cpu")
    seen = split.seen.joined(initial.seen) if initial else split.seen
    bundle = _choose(config, network, best_weights, split, seen, settings, progress)
    bundle.save(folder / "bundle")
    best_epoch = int(best_weights["epoch"]) + 1
    facts = {
        **_speed(config, diary),
        "precision": precision.name,
        "precision_reason": precision.reason,
        "device": _device_name(device),
        "processes": count,
        "skipped_steps": int(diary.history[-1]["skipped_steps"]),
        "stopped_early": len(diary.history) < config.training.max_epochs,
        **told,
    }
    seconds = diary.total("seconds")
    finished: dict[str, Any] = {"best_epoch": best_epoch, "seconds": seconds, "resumed_from": resumed_from}
    finished["facts"] = facts
    write(folder / _FINISHED, finished)
    return TrainingResult(
        folder / "bundle", tuple(diary.history), best_epoch, seconds, resumed_from, reused=False, facts=facts
    )


def _finished(folder: Path) -> TrainingResult | None:
    if not (folder / _FINISHED).is_file():
        return None
    kept = json.loads((folder / _FINISHED).read_text(encoding="utf-8"))
    return TrainingResult(folder / "bundle", tuple(history(folder)), reused=True, **kept)


def _transferred(
    config: ExperimentConfig,
    initial: Bundle | None,
    split: CaseSplit,
    network: Detector,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Copy what fits of the weights to start from, and say what it was."""
    if initial is None:
        return {}
    _refuse_seen_tests(initial, split)
    copied = transfer(initial, network, config)
    if progress:
        progress(0, config.training.max_epochs, f"transferring: {copied}")
    return {"transferred_share": copied.share, "transferred": str(copied)}


def _refuse_seen_tests(initial: Bundle, split: CaseSplit) -> None:
    known = sum(initial.seen.holds(case) for case in split.test)
    if known:
        raise DatasetError(
            f"{known} of {len(split.test)} test cases are of patients that shaped the weights to start from, so a "
            "score on them would be memory: use the split and seed of that version, or other weights"
        )


def _precision(
    config: ExperimentConfig,
    network: Detector,
    prepared: Sequence[PreparedCase],
    device: torch.device,
    folder: Path,
    progress: Progress | None,
) -> Precision:
    """What was chosen when the training began; it stays, also when it goes on on another machine."""
    kept = folder / _PRECISION
    if kept.is_file():
        return Precision(**json.loads(kept.read_text(encoding="utf-8")))
    chosen = choose_precision(
        config.training.precision, network, _first_loss(config, network, prepared, device), device
    )
    write(kept, asdict(chosen))
    if progress and config.training.precision == "auto":
        progress(0, config.training.max_epochs, f"precision {chosen.name}: {chosen.reason}")
    return chosen


def _first_loss(
    config: ExperimentConfig, network: Detector, prepared: Sequence[PreparedCase], device: torch.device
) -> Callable[[], torch.Tensor]:
    """The loss on the first batch, as the training will compute it."""

    @cache
    def first() -> Batch:
        dataset = PatchDataset(prepared, config)
        with torch.autocast(device.type, enabled=False):  # sampling a patch is no arithmetic of the network's
            return collate([dataset[n] for n in range(min(config.training.batch_size, len(dataset)))]).to(device)

    def loss() -> torch.Tensor:
        return training_module(config, network, prepared, Rank()).to(device).train().loss(first())

    return loss


def _speed(config: ExperimentConfig, diary: Diary) -> dict[str, float]:
    """Over all starts; samples a second while training, without validation."""
    epochs = len(diary.history)
    seconds = diary.total("seconds") - diary.total("validation_seconds")
    samples = epochs * config.sampling.samples_per_epoch
    steps = epochs * (total_steps(config) // config.training.max_epochs)
    return {"steps": steps, "samples_per_second": round(samples / max(seconds, 1e-9), 2)}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def _choose(
    config: ExperimentConfig,
    network: Detector,
    checkpoint: dict[str, Any],
    split: CaseSplit,
    seen: Seen,
    settings: Settings,
    progress: Progress | None,
) -> Bundle:
    """The best epoch's weights with the threshold that suits the validation cases."""
    state = {k.removeprefix("network."): v for k, v in checkpoint["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    return with_thresholds(Bundle(config, network.eval(), 0.5, seen), split.validation, settings, progress)
