"""The training step, the validation pass and the optimiser, as Lightning wants them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import lightning
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import preprocessing_of
from pipeline.datasets.samples import Batch
from pipeline.detectors.detector import Detector
from pipeline.evaluation.evaluate import primary_value
from pipeline.evaluation.records import ScoredCase
from pipeline.inference.detect import detect_prepared
from pipeline.inference.scoring import scored_case
from pipeline.training.finite import StepGuard, spoiling
from pipeline.training.ranks import Rank
from pipeline.training.rates import frozen_parts, parameter_groups
from pipeline.transforms.preprocessing import prepare

VALIDATION_METRIC = "validation_primary"
_LOOK_EVERY = 50  # steps: asking the device makes it wait


class DetectorTraining(lightning.LightningModule):
    """Trains a network; validates it by detecting on whole cases and scoring what was found."""

    def __init__(
        self,
        network: Detector,
        config: ExperimentConfig,
        total_steps: int,
        class_weights: torch.Tensor | None = None,
        rank: Rank | None = None,
    ) -> None:
        super().__init__()
        self.network, self.config, self.total_steps = network, config, total_steps
        self._class_weights: torch.Tensor | None
        self.rank = rank or Rank()
        self.register_buffer("_class_weights", class_weights, persistent=False)  # goes where the module goes
        self._frozen = frozen_parts(network, config.training.frozen_stages)
        self.guard = StepGuard(network)
        self._scored: list[ScoredCase] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._validated: dict[str, float] = {}
        self.figures: dict[str, float] = {}  # of callbacks, told with each epoch's

    def forward(self, image: torch.Tensor) -> Any:
        return self.network(image)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    @property
    def validated(self) -> float:
        """The metric of the epoch's validation, which it must have had."""
        return self._validated[VALIDATION_METRIC]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        return self.loss(batch)

    def loss(self, batch: Batch) -> torch.Tensor:
        """What a step minimises; its parts are added up for `epoch_figures`."""
        self.guard.before_step()
        training = self.config.training
        loss = self.network.loss(self.network(batch.image), batch.objects, self._class_weights, self.rank.divisor)
        total = loss.score + training.box_weight * loss.box + training.class_weight * loss.label
        parts = {"loss_score": loss.score, "loss_box": loss.box, "loss_label": loss.label}
        if loss.grade is not None:
            total = total + training.grade_weight * loss.grade
            parts["loss_grade"] = loss.grade
        self._add({"loss": total} | parts)
        return spoiling(total)

    def _add(self, parts: dict[str, torch.Tensor]) -> None:
        finite = parts["loss"].detach().isfinite()
        for name, value in (parts | {"steps": torch.ones_like(parts["loss"])}).items():
            share = torch.where(finite, value.detach(), 0.0)
            self._sums[name] = self._sums[name] + share if name in self._sums else share

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any
    ) -> None:  # called by Lightning between the gradients and the step
        self.guard.clip(optimizer, self.config.training.gradient_clip)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx % _LOOK_EVERY == _LOOK_EVERY - 1:
            self.guard.check()

    def on_fit_start(self) -> None:
        self.guard.to(self.device)

    def on_train_epoch_start(self) -> None:
        self._sums, self._validated = {}, {}
        if self.current_epoch + 1 == self.trainer.max_epochs:  # the last one validates, whatever `validate_every` says
            self.trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self) -> None:
        self.guard.check()

    def epoch_figures(self) -> dict[str, float]:
        """Mean losses of the epoch so far and the latest validation score; all processes ask together."""
        sums = {name: float(self.rank.mean(value)) for name, value in self._sums.items()}
        steps = max(sums.pop("steps", 0.0), 1.0)
        means = {name: value / steps for name, value in sums.items()}
        return means | {"skipped_steps": float(self.guard.skipped)} | self.figures | self._validated

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped_steps"] = self.guard.skipped
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.guard.skipped = checkpoint["skipped_steps"]
        torch.set_rng_state(checkpoint["random_state"])

    def validation_step(self, case: Case | None, _: int) -> None:
        if case is None:  # this process has one case less than others
            return
        prepared = prepare(case.array, case.grid, preprocessing_of(case, self.config.preprocessing))
        detections = detect_prepared(
            self.network, self.config, prepared.image, prepared.grid, case.grid, case.volume.volume_id
        )
        self._scored.append(scored_case(case, detections))

    def on_validation_epoch_start(self) -> None:
        self._scored = []

    def on_validation_epoch_end(self) -> None:
        value = primary_value(self.rank.gathered(self._scored), self.config.evaluation)
        value = 0.0 if math.isnan(value) else value  # no object among the validation cases: nothing to prefer
        self._validated = {VALIDATION_METRIC: value}
        self.log(VALIDATION_METRIC, value)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        training = self.config.training
        optimiser = torch.optim.AdamW(
            parameter_groups(self.network, training), weight_decay=training.weight_decay, fused=True
        )  # fused: it leaves steps out as `StepGuard` asks
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


def only_case(cases: Sequence[Case | None]) -> Case | None:
    """Validation batches hold one case each: their sizes differ."""
    return cases[0]
