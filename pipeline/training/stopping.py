"""Early stopping by the validation metric that is reported."""

import math
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from pipeline.training.module import DetectorTraining


class Patience(Callback):
    """Ends the training after ``most`` validations in a row that were no better than the best; 0: never.

    ``waited`` is how many there were. It is kept in checkpoints, so a training that ended stays ended.
    """

    def __init__(self, most: int) -> None:
        self.most, self.waited, self._best = most, 0, -math.inf

    @property
    def over(self) -> bool:
        return 0 < self.most <= self.waited

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = self.over

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, DetectorTraining)
        better = pl_module.validated > self._best
        self._best = max(self._best, pl_module.validated)
        self.waited = 0 if better else self.waited + 1
        trainer.should_stop = self.over

    def state_dict(self) -> dict[str, Any]:
        return {"waited": self.waited, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.waited, self._best = state_dict["waited"], state_dict["best"]
