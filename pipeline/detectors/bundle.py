"""A trained detector as a folder: weights, the experiment that made them, and what is needed to use them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.errors import ModelError

_WEIGHTS, _EXPERIMENT, _FACTS = "weights.safetensors", "experiment.json", "bundle.json"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network with its experiment.

    ``threshold`` is the score above which a detection counts; it was chosen on validation data.
    ``training_patients`` are the keys of the patients whose data shaped the model: it may not be scored on them.
    """

    config: ExperimentConfig
    network: CentreBoxDetector
    threshold: float
    training_patients: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.data.classes

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors``, ``experiment.json`` and ``bundle.json``; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        (folder / _EXPERIMENT).write_text(self.config.model_dump_json(indent=1), encoding="utf-8")
        facts = {"threshold": self.threshold, "training_patients": list(self.training_patients)}
        (folder / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing, or the weights do not fit the network that the experiment describes.
        """
        for name in (_WEIGHTS, _EXPERIMENT, _FACTS):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} is not a model: it lacks {name}")
        config = ExperimentConfig.model_validate_json((folder / _EXPERIMENT).read_text(encoding="utf-8"))
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        network = CentreBoxDetector(_without_download(config))
        try:
            network.load_state_dict(load_file(folder / _WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder / _WEIGHTS} does not fit the network of its experiment: {error}") from error
        return cls(config, network.eval(), float(facts["threshold"]), tuple(facts["training_patients"]))

    @classmethod
    def digest(cls, folder: Path) -> str:
        """16 hex digits over the bytes of the three files."""
        text = hashlib.sha256()
        for name in (_WEIGHTS, _EXPERIMENT, _FACTS):
            text.update((folder / name).read_bytes())
        return text.hexdigest()[:16]


def transfer(source: CentreBoxDetector, target: CentreBoxDetector) -> tuple[int, int]:
    """Copy every weight of ``source`` whose name and shape fit ``target``; the rest of ``target`` stays.

    Returns:
        How many tensors were copied, and how many ``target`` has.
    """
    own = target.state_dict()
    fitting = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    target.load_state_dict(own | fitting)
    return len(fitting), len(own)


def _without_download(config: ExperimentConfig) -> ExperimentConfig:
    """The same network without ImageNet weights: a bundle brings its own."""
    backbone = config.detector.backbone
    if backbone.kind != "efficientnet_lite0":
        return config
    detector = config.detector.model_copy(update={"backbone": backbone.model_copy(update={"pretrained": False})})
    return config.model_copy(update={"detector": detector})


def seeded_network(config: ExperimentConfig) -> CentreBoxDetector:
    """A fresh network whose weights depend on ``config.seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return CentreBoxDetector(config)
