"""What a training tells while it runs, and what it leaves behind."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from pipeline.config.experiment import ExperimentConfig
from pipeline.progress import Progress
from pipeline.training.module import VALIDATION_METRIC, DetectorTraining
from pipeline.training.stopping import Patience

OnEpoch = Callable[[int, dict[str, float]], None]


class Diary(Callback):
    """Keeps one row an epoch on disk and tells the caller; epochs that were already told stay told.

    Only the leading process has a ``folder``: figures are gathered from all of them.
    """

    def __init__(
        self,
        folder: Path | None,
        config: ExperimentConfig,
        patience: Patience,
        on_epoch: OnEpoch | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder, self.config, self.patience = folder, config, patience
        self.on_epoch, self.progress = on_epoch, progress
        self.history = history(folder) if folder else []
        self._started = self._validating = self._validated = 0.0

    def total(self, figure: str) -> float:
        return sum(row.get(figure, 0.0) for row in self.history)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started, self._validated = time.monotonic(), 0.0

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._validating = time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._validated = time.monotonic() - self._validating

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, DetectorTraining)
        figures = pl_module.epoch_figures()
        if self.folder is None:
            return
        epoch = trainer.current_epoch + 1
        if self.patience.most and VALIDATION_METRIC in figures:
            figures["validations_since_best"] = float(self.patience.waited)
        row = {"epoch": float(epoch), **figures, "seconds": time.monotonic() - self._started}
        row |= {"validation_seconds": self._validated} if self._validated else {}
        self.history = [*(r for r in self.history if r["epoch"] < epoch), row]
        write(self.folder / "history.json", self.history)
        if self.on_epoch:
            self.on_epoch(epoch, row)
        if self.progress:
            score = row.get(VALIDATION_METRIC)
            shown = "" if score is None else f", validation {self.config.evaluation.primary} {score:.3f}"
            ends = f", no better in {self.patience.waited} validations: ends" if self.patience.over else ""
            left_out = f", steps skipped: {row['skipped_steps']:.0f}" if row["skipped_steps"] else ""
            told = f"training, loss {row['loss']:.3f}{shown}{left_out}{ends}"
            self.progress(epoch, self.config.training.max_epochs, told)


class SaveLast(Checkpoint):
    """Writes the state to resume from after each epoch, whole or not at all.

    A `Checkpoint`, so that Lightning runs it after the `ModelCheckpoint` listed before it: the saved state must know
    this epoch's best, or a resumed run forgets it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        part = self.path.with_suffix(".part")
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            part.replace(self.path)


def epochs_in(checkpoint: Path) -> int | None:
    """How many epochs a checkpoint to resume from has behind it; none without a checkpoint."""
    if not checkpoint.exists():
        return None
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["epoch"]) + 1


def history(folder: Path) -> list[dict[str, float]]:
    path = folder / "history.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def write(path: Path, value: Any) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1), encoding="utf-8")
    part.replace(path)
