"""Train one experiment. Started again, it continues; finished, it returns at once."""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedCase, PreparedStore
from pipeline.datasets.samples import collate
from pipeline.datasets.sampling import NumberSampler, PatchDataset
from pipeline.datasets.seen import Seen
from pipeline.datasets.split import CaseSplit
from pipeline.detectors.bundle import Bundle, seeded_network, transfer
from pipeline.errors import DatasetError
from pipeline.evaluation.class_thresholds import choose_class_thresholds
from pipeline.evaluation.evaluate import choose_threshold
from pipeline.inference.detect import VolumeDetector, resolve_device, score_cases
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.training.module import VALIDATION_METRIC, DetectorTraining, only_case

OnEpoch = Callable[[int, dict[str, float]], None]
_FINISHED = "finished.json"


@dataclass(frozen=True)
class TrainingResult:
    """``history`` has one row an epoch. ``seconds`` is time spent in the training loop, over all starts."""

    bundle_folder: Path
    history: tuple[dict[str, float], ...]
    best_epoch: int
    seconds: float
    resumed_from: int | None
    reused: bool


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
        settings: for the cache and the device.
        initial: weights to transfer from.
        on_epoch: called with the epoch and its figures, those of earlier starts not repeated.
        progress: called as epochs pass.
    """
    done = _finished(folder)
    if done is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    prepared = _prepare(config, split, settings, progress)
    network = seeded_network(config)
    if initial is not None:
        _refuse_seen_tests(initial, split)
        transfer(initial.network, network)
    diary = _Diary(folder, config, on_epoch, progress)
    best = ModelCheckpoint(
        folder, filename="best", monitor=VALIDATION_METRIC, mode="max", save_top_k=1, enable_version_counter=False
    )
    last = folder / "last.ckpt"
    resumed_from = _epochs_in(last)
    with _quiet():
        module = _module(config, network, prepared)
        _fit(config, module, prepared, split, [*_averaging(config), best, diary, _SaveLast(last)], settings, last)
    best_weights = torch.load(folder / "best.ckpt", weights_only=True, map_location="cpu")
    seen = split.seen.joined(initial.seen) if initial else split.seen
    bundle = _choose(config, network, best_weights, split, seen, settings, progress)
    bundle.save(folder / "bundle")
    best_epoch = int(best_weights["epoch"]) + 1
    _write(folder / _FINISHED, {"best_epoch": best_epoch, "seconds": diary.seconds, "resumed_from": resumed_from})
    return TrainingResult(
        folder / "bundle", tuple(diary.history), best_epoch, diary.seconds, resumed_from, reused=False
    )


def _refuse_seen_tests(initial: Bundle, split: CaseSplit) -> None:
    known = sum(initial.seen.holds(case) for case in split.test)
    if known:
        raise DatasetError(
            f"{known} of {len(split.test)} test cases are of patients that shaped the weights to start from, so a "
            "score on them would be memory: use the split and seed of that version, or other weights"
        )


def _epochs_in(checkpoint: Path) -> int | None:
    """How many epochs a checkpoint to resume from has behind it; none without a checkpoint."""
    if not checkpoint.exists():
        return None
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["epoch"]) + 1


def _finished(folder: Path) -> TrainingResult | None:
    if not (folder / _FINISHED).is_file():
        return None
    facts = json.loads((folder / _FINISHED).read_text(encoding="utf-8"))
    return TrainingResult(folder / "bundle", tuple(_history(folder)), reused=True, **facts)


def _prepare(
    config: ExperimentConfig, split: CaseSplit, settings: Settings, progress: Progress | None
) -> list[PreparedCase]:
    store = PreparedStore(settings.cache, config.preprocessing, config.data.classes)
    prepared = []
    for n, case in enumerate(split.train):
        prepared.append(store.get(case))
        if progress:
            progress(n + 1, len(split.train), "preparing")
    return prepared


def _module(config: ExperimentConfig, network: Any, prepared: list[PreparedCase]) -> DetectorTraining:
    steps = -(-config.sampling.samples_per_epoch // config.training.batch_size)
    return DetectorTraining(network, config, steps * config.training.max_epochs)


def _averaging(config: ExperimentConfig) -> list[Callback]:
    """The average of recent weights validates better than the last ones, at no cost in inference."""
    decay = config.training.average_decay
    return [EMAWeightAveraging(decay=decay, use_buffers=True)] if decay > 0 else []


def _fit(
    config: ExperimentConfig,
    module: DetectorTraining,
    prepared: list[PreparedCase],
    split: CaseSplit,
    callbacks: list[Callback],
    settings: Settings,
    last: Path,
) -> None:
    dataset = PatchDataset(prepared, config)
    workers = config.training.workers
    patches = DataLoader(
        dataset,
        batch_size=config.training.batch_size,
        sampler=NumberSampler(len(dataset)),
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    cases: DataLoader[Any] = DataLoader(_Cases(split.validation), batch_size=1, collate_fn=only_case)
    device = torch.device(resolve_device(settings.device))
    trainer = lightning.Trainer(
        max_epochs=config.training.max_epochs,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if config.training.precision == "bf16" else "32-true",
        gradient_clip_val=config.training.gradient_clip,
        check_val_every_n_epoch=min(config.training.validate_every, config.training.max_epochs),
        callbacks=callbacks,
        default_root_dir=last.parent,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic=device.type == "cpu",
    )
    try:
        trainer.fit(module, patches, cases, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C; the caller is to know what it was
        raise KeyboardInterrupt from stop


class _Cases(Dataset[Case]):
    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, number: int) -> Case:
        return self.cases[number]


class _Diary(Callback):
    """Keeps one row an epoch on disk and tells the caller; epochs that were already told stay told."""

    def __init__(
        self, folder: Path, config: ExperimentConfig, on_epoch: OnEpoch | None, progress: Progress | None
    ) -> None:
        self.folder, self.config, self.on_epoch, self.progress = folder, config, on_epoch, progress
        self.history = _history(folder)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return sum(row["seconds"] for row in self.history)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, DetectorTraining)
        epoch = trainer.current_epoch + 1
        row = {"epoch": float(epoch), **pl_module.epoch_figures(), "seconds": time.monotonic() - self._started}
        self.history = [*(r for r in self.history if r["epoch"] < epoch), row]
        _write(self.folder / "history.json", self.history)
        if self.on_epoch:
            self.on_epoch(epoch, row)
        if self.progress:
            score = row.get(VALIDATION_METRIC)
            shown = "" if score is None else f", validation {self.config.evaluation.primary} {score:.3f}"
            self.progress(epoch, self.config.training.max_epochs, f"training, loss {row['loss']:.3f}{shown}")


class _SaveLast(Checkpoint):
    """Writes the state to resume from after each epoch, whole or not at all.

    A `Checkpoint`, so that Lightning runs it after the `ModelCheckpoint` listed before it: the saved state must know
    this epoch's best, or a resumed run forgets it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        part = self.path.with_suffix(".part")
        trainer.save_checkpoint(part)
        part.replace(self.path)


def _choose(
    config: ExperimentConfig,
    network: Any,
    checkpoint: dict[str, Any],
    split: CaseSplit,
    seen: Seen,
    settings: Settings,
    progress: Progress | None,
) -> Bundle:
    """The best epoch's weights with the threshold that suits the validation cases."""
    state = {k.removeprefix("network."): v for k, v in checkpoint["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    draft = Bundle(config, network.eval(), 0.5, seen)
    scored = score_cases(VolumeDetector(draft, settings.device), split.validation, progress)
    threshold, own = choose_threshold(scored, config.evaluation), None
    if config.evaluation.threshold == "per_class" and len(config.data.classes) > 1:
        own = choose_class_thresholds(scored, config.evaluation, config.data.classes, threshold)
    return Bundle(config, network, threshold, seen, own)


def _history(folder: Path) -> list[dict[str, float]]:
    path = folder / "history.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _write(path: Path, value: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1), encoding="utf-8")
    part.replace(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice (workers, checkpoint folders, hardware) is about choices that were made on purpose here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
