"""The moving average of weights: it validates better than the last ones, at no cost in inference."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from pipeline.training.module import DetectorTraining

_LAST, _STARTED = "current_model_state", "averaging_started"


class MovingAverage(Callback):
    """``average = decay * average + (1 - decay) * weights`` after each step that was taken; the first one sets it.

    Validation and checkpoints see the average; beside it checkpoints hold the weights to resume from. Lightning's own
    is not used because it averages on the CPU, and asks the device at each step; and after a step that was left out.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._own: list[torch.Tensor] = []
        self._average: list[torch.Tensor] = []
        self._started = torch.zeros(())

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        device = pl_module.device
        self._own = [value for value in pl_module.state_dict().values() if value.is_floating_point()]
        loaded = self._average
        self._average = [one.clone() for one in self._own]
        if loaded:
            torch._foreach_copy_(self._average, loaded)
        self._started = self._started.to(device)

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, DetectorTraining)
        applied = pl_module.guard.applied
        weight = applied * (1.0 - self.decay * self._started)
        self._started = torch.maximum(self._started, applied)
        towards = torch._foreach_sub(self._own, self._average)
        torch._foreach_mul_(towards, weight)
        torch._foreach_add_(self._average, towards)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._swap()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._swap()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[_LAST] = checkpoint["state_dict"]
        checkpoint["state_dict"] = checkpoint[_LAST] | dict(zip(_names(pl_module), self._average, strict=True))
        checkpoint[_STARTED] = self._started

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._average = [checkpoint["state_dict"][name].clone() for name in _names(pl_module)]
        self._started = checkpoint[_STARTED]
        pl_module.load_state_dict(checkpoint[_LAST])

    @torch.no_grad()
    def _swap(self) -> None:
        kept = [one.clone() for one in self._own]
        torch._foreach_copy_(self._own, self._average)
        torch._foreach_copy_(self._average, kept)


def _names(module: lightning.LightningModule) -> list[str]:
    """Of all numbers that learning changes; counts of batches are no numbers to average."""
    return [name for name, value in module.state_dict().items() if value.is_floating_point()]
