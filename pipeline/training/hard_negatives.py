"""What the network wrongly takes for objects in training cases becomes a place where patches are drawn."""

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prepared import PreparedCase
from pipeline.datasets.sampling import PatchDataset
from pipeline.detections import Detections
from pipeline.detectors.detector import Detector
from pipeline.evaluation.matching import match_case
from pipeline.inference.detect import detect_prepared
from pipeline.inference.scoring import scored_case
from pipeline.training.module import DetectorTraining
from pipeline.training.ranks import Rank
from pipeline.types import Points

FIGURE = "hard_negatives"
_MOST_A_CASE = 20  # those with the highest scores: one confused scan is not to make up the whole share


class HardNegatives(Callback):
    """After each validation but the last the network detects on some training cases, drawn by seed and epoch.

    They are as many as validation has, so that it costs about what validation does. Their false detections replace
    those found in the same cases before; those of other cases stay. Kept in checkpoints, so that a training that goes
    on draws the same patches. It must come before `MovingAverage` among the callbacks, to detect with the average.
    """

    def __init__(self, dataset: PatchDataset, cases: Sequence[Case], most_cases: int, rank: Rank) -> None:
        self.dataset, self.cases, self.rank = dataset, cases, rank
        self.looks = min(most_cases, len(cases))
        self.places: dict[int, Points] = {}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._tell(pl_module)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, DetectorTraining)
        if trainer.current_epoch + 1 == trainer.max_epochs:  # no patch follows
            return
        config = self.dataset.config
        rng = np.random.default_rng([config.training_seed, trainer.current_epoch])
        chosen = rng.choice(len(self.cases), self.looks, replace=False).tolist()
        with trainer.precision_plugin.val_step_context():
            own = [
                (number, false_places(pl_module.network, config, self.cases[number], self.dataset.cases[number]))
                for number in chosen[self.rank.number :: self.rank.count]
            ]
        self.places |= dict(self.rank.gathered(own))
        self._use()
        self._tell(pl_module)

    def state_dict(self) -> dict[str, Any]:
        found = [(number, at) for number, at in sorted(self.places.items()) if len(at)]
        world = np.concatenate([np.zeros((0, self.dataset.config.data.dims)), *(at for _, at in found)])
        case = np.repeat([number for number, _ in found], [len(at) for _, at in found]).astype(np.int64)
        return {"case": torch.from_numpy(case), "world": torch.from_numpy(world)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        case, world = state_dict["case"].numpy(), state_dict["world"].numpy()
        self.places = {int(number): world[case == number] for number in np.unique(case)}
        self._use()

    def _use(self) -> None:
        nothing = np.zeros((0, self.dataset.config.data.dims))
        self.dataset.set_hard_negatives([self.places.get(number, nothing) for number in range(len(self.cases))])

    def _tell(self, module: lightning.LightningModule) -> None:
        assert isinstance(module, DetectorTraining)
        module.figures[FIGURE] = float(sum(map(len, self.places.values())))


def false_places(network: Detector, config: ExperimentConfig, case: Case, prepared: PreparedCase) -> Points:
    """``(n, d)`` in the world: centres of false detections, those with the highest scores first.

    False is what the evaluation's match rule calls so. A second detection of an object that was found is false too,
    but shows no background: what is centred in the box of an object is left out.
    """
    image = torch.from_numpy(np.asarray(prepared.image)).float()
    grid = prepared.boxes.grid
    found = detect_prepared(network, config, image, grid, case.grid, case.volume.volume_id)
    found = found.above(config.sampling.hard_negative_score)
    false = match_case(scored_case(case, found), config.evaluation.match).false & ~_in_objects(found, case)
    return found.boxes.centres_world[false][:_MOST_A_CASE]


def _in_objects(found: Detections, case: Case) -> np.ndarray:
    """Which detections are centred in the box of an object, one to be ignored too; bool ``(n,)``."""
    objects, centres = case.annotations.boxes, found.boxes.centres[:, None]
    return np.all((centres >= objects.lower) & (centres <= objects.upper), axis=2).any(axis=1)
