"""The training step, the validation pass and the optimiser, as Lightning wants them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.samples import Batch
from pipeline.detectors.detector import Detector
from pipeline.errors import DatasetError
from pipeline.evaluation.evaluate import primary_value
from pipeline.evaluation.records import ScoredCase
from pipeline.inference.detect import detect_prepared
from pipeline.inference.scoring import scored_case
from pipeline.transforms.preprocessing import prepare

VALIDATION_METRIC = "validation_primary"
_MOST_SKIPPED = 20


class DetectorTraining(lightning.LightningModule):
    """Trains a network; validates it by detecting on whole cases and scoring what was found."""

    def __init__(self, network: Detector, config: ExperimentConfig, total_steps: int) -> None:
        super().__init__()
        self.network, self.config, self.total_steps = network, config, total_steps
        self._scored: list[ScoredCase] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._validated: dict[str, float] = {}
        self.skipped_steps = 0

    def forward(self, image: torch.Tensor) -> Any:
        return self.network(image)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def training_step(self, batch: Batch, _: int) -> torch.Tensor | None:
        training = self.config.training
        loss = self.network.loss(self.network(batch.image), batch.objects)
        total = loss.score + training.box_weight * loss.box + training.class_weight * loss.label
        if loss.grade is not None:
            total = total + training.grade_weight * loss.grade
        if not torch.isfinite(total):
            self._skip()
            return None
        parts = {"loss": total, "loss_score": loss.score, "loss_box": loss.box, "loss_label": loss.label}
        if loss.grade is not None:
            parts["loss_grade"] = loss.grade
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self._steps += 1
        return total

    def _skip(self) -> None:
        """A step without a finite loss teaches nothing and would spoil every weight; many of them have a cause."""
        self.skipped_steps += 1
        if self.skipped_steps > _MOST_SKIPPED:
            raise DatasetError(
                f"{self.skipped_steps} training steps had a loss that is not a number: look for voxels that are not "
                "finite, or lower training.learning_rate"
            )

    def on_train_epoch_start(self) -> None:
        self._sums, self._steps, self._validated = {}, 0, {}

    def epoch_figures(self) -> dict[str, float]:
        """Mean losses of the epoch so far and the latest validation score."""
        means = {name: float(value) / max(self._steps, 1) for name, value in self._sums.items()}
        return means | {"skipped_steps": float(self.skipped_steps)} | self._validated

    def validation_step(self, case: Case, _: int) -> None:
        prepared = prepare(case.array, case.grid, self.config.preprocessing)
        detections = detect_prepared(
            self.network, self.config, prepared.image, prepared.grid, case.grid, case.volume.volume_id
        )
        self._scored.append(scored_case(case, detections))

    def on_validation_epoch_start(self) -> None:
        self._scored = []

    def on_validation_epoch_end(self) -> None:
        value = primary_value(self._scored, self.config.evaluation)
        value = 0.0 if math.isnan(value) else value  # no object among the validation cases: nothing to prefer
        self._validated = {VALIDATION_METRIC: value}
        self.log(VALIDATION_METRIC, value)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        training = self.config.training
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate_at(training.warmup_share, self.total_steps))
        return OptimizerLRSchedulerConfig(
            optimizer=optimiser, lr_scheduler=LRSchedulerConfigType(scheduler=schedule, interval="step")
        )


def rate_at(warmup_share: float, total_steps: int) -> Callable[[int], float]:
    """Share of the full learning rate at a step: a linear rise, then half a cosine down to 1 %."""
    warmup = max(int(warmup_share * total_steps), 1)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))

    return share


def only_case(cases: Sequence[Case]) -> Case:
    """Validation batches hold one case each: their sizes differ."""
    return cases[0]
