"""A trained detector as a folder: weights, the experiment that made them, and what is needed to use them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.detectors.detector import CentreBoxDetector
from pipeline.errors import ModelError

_WEIGHTS, _EXPERIMENT, _FACTS = "weights.safetensors", "experiment.json", "bundle.json"
_BUNDLE = "cellscan.bundle"  # what the other two files hold, in the file of weights


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network with its experiment.

    ``threshold`` is the score above which a detection counts; it was chosen on validation data.
    ``seen`` are the patients and volumes that shaped the model: it may not be scored on them.
    """

    config: ExperimentConfig
    network: CentreBoxDetector
    threshold: float
    seen: Seen = field(default_factory=Seen)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.data.classes

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors``, ``experiment.json`` and ``bundle.json``; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        seen = {"patients": sorted(self.seen.patients), "volumes": sorted(self.seen.volumes)}
        experiment = self.config.model_dump_json(indent=1)
        facts = json.dumps({"threshold": self.threshold, "seen": seen}, indent=1)
        # The file of weights alone says what it is, too: one can start from it. One entry: of several the order varies.
        save_file(weights, folder / _WEIGHTS, metadata={_BUNDLE: json.dumps([experiment, facts])})
        (folder / _EXPERIMENT).write_text(experiment, encoding="utf-8")
        (folder / _FACTS).write_text(facts, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing, or the weights do not fit the network that the experiment describes.
        """
        for name in (_WEIGHTS, _EXPERIMENT, _FACTS):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} is not a model: it lacks {name}")
        experiment, facts = (folder / name for name in (_EXPERIMENT, _FACTS))
        try:
            told = experiment.read_text(encoding="utf-8"), facts.read_text(encoding="utf-8")
        except ValueError as error:
            raise ModelError(f"{folder} is described in another way than this cellscan reads: {error}") from error
        return cls._described(folder / _WEIGHTS, *told)

    @classmethod
    def load_file(cls, path: Path) -> "Bundle":
        """Read a file of weights that `save` wrote, wherever it is now.

        Raises:
            ModelError: it is damaged, or does not say of which network and patients it is: the bundle's folder does.
        """
        try:
            with safe_open(path, framework="pt") as weights:
                told = (weights.metadata() or {}).get(_BUNDLE)
        except SafetensorError as error:
            raise ModelError(f"{path} is no file of weights: {error}") from error
        if told is None:
            raise ModelError(
                f"{path} does not say which network it is of, and which patients shaped it: name its bundle's folder"
            )
        return cls._described(path, *json.loads(told))

    @classmethod
    def _described(cls, weights: Path, experiment: str, facts: str) -> "Bundle":
        try:
            tree = json.loads(experiment)
            tree["evaluation"].pop("promotion_margin", None)  # in bundles from before policies set it
            config = ExperimentConfig.model_validate(tree)
            known = json.loads(facts)
            threshold, seen = float(known["threshold"]), known["seen"]
            patients, volumes = frozenset(seen["patients"]), frozenset(seen["volumes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{weights.parent} is described in another way than this cellscan reads: {error}"
            ) from error
        network = CentreBoxDetector(_without_download(config))
        try:
            network.load_state_dict(load_file(weights))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"{weights} does not fit the network of its experiment: {error}") from error
        return cls(config, network.eval(), threshold, Seen(patients, volumes))


def _without_download(config: ExperimentConfig) -> ExperimentConfig:
    """The same network without ImageNet weights: a bundle brings its own."""
    backbone = config.detector.backbone
    if backbone.kind != "efficientnet_lite0":
        return config
    detector = config.detector.model_copy(update={"backbone": backbone.model_copy(update={"pretrained": False})})
    return config.model_copy(update={"detector": detector})


def seeded_network(config: ExperimentConfig) -> CentreBoxDetector:
    """A fresh network whose weights depend on ``config.training_seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training_seed)
        return CentreBoxDetector(config)
