"""A trained detector as a folder: weights, the experiment that made them, and what is needed to use them."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.detectors.build import build_detector
from pipeline.detectors.detector import Detector
from pipeline.detectors.ensemble import Ensemble
from pipeline.detectors.halved import halved
from pipeline.errors import ModelError

_WEIGHTS, _EXPERIMENT, _FACTS = "weights.safetensors", "experiment.json", "bundle.json"
_BUNDLE = "cellscan.bundle"  # what the other two files hold, in the file of weights


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network, or an ensemble of several, with its experiment.

    ``threshold`` is the score above which a detection counts; it was chosen on validation data. Where each class has
    one of its own (``evaluation.threshold: per_class``), ``class_thresholds`` are they, in the order of the classes, on
    the network's scores; detections then carry scores on which ``threshold`` holds for all (`with_one_threshold`).
    ``seen`` are the patients and volumes that shaped the model: it may not be scored on them.
    """

    config: ExperimentConfig
    network: Detector
    threshold: float
    seen: Seen = field(default_factory=Seen)
    class_thresholds: tuple[float, ...] | None = None

    @property
    def plain(self) -> "Bundle":
        """The same network without what is done to its answers: seen once, in full precision, scores as it gives them.

        Explanations lead a detection back to one place of one output, which averages and changed scores do not have.
        Of an ensemble it is the first network.
        """
        network = self.network.first if isinstance(self.network, Ensemble) else self.network
        inference = self.config.inference.model_copy(update={"views": "none", "precision": "32"})
        config = self.config.model_copy(update={"inference": inference})
        return replace(self, config=config, network=network, class_thresholds=None)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.data.classes

    def save(self, folder: Path, half: bool = False) -> None:
        """Write ``weights.safetensors``, ``experiment.json`` and ``bundle.json``; nothing is pickled.

        With ``half``, weights are 16-bit floats where they survive it (`halved`); loaded, they are 32-bit ones again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        weights = halved(weights) if half else weights
        seen = {"patients": sorted(self.seen.patients), "volumes": sorted(self.seen.volumes)}
        own = {} if self.class_thresholds is None else {"class_thresholds": list(self.class_thresholds)}
        members = {"members": len(self.network.members)} if isinstance(self.network, Ensemble) else {}
        experiment = self.config.model_dump_json(indent=1)
        facts = json.dumps({"threshold": self.threshold, **own, **members, "seen": seen}, indent=1)
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
            own = known.get("class_thresholds")  # absent where one threshold holds for all
            class_thresholds = None if own is None else tuple(float(one) for one in own)
            members = int(known.get("members", 1))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{weights.parent} is described in another way than this cellscan reads: {error}"
            ) from error
        built = [build_detector(_without_download(config)) for _ in range(members)]
        network = built[0] if members == 1 else Ensemble(built)
        try:
            network.load_state_dict(load_file(weights))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"{weights} does not fit the network of its experiment: {error}") from error
        return cls(config, network.eval(), threshold, Seen(patients, volumes), class_thresholds)


def _without_download(config: ExperimentConfig) -> ExperimentConfig:
    """The same network without ImageNet weights: a bundle brings its own."""
    backbone = config.detector.backbone
    if backbone.kind != "efficientnet_lite0":
        return config
    detector = config.detector.model_copy(update={"backbone": backbone.model_copy(update={"pretrained": False})})
    return config.model_copy(update={"detector": detector})


def seeded_network(config: ExperimentConfig) -> Detector:
    """A fresh network whose weights depend on ``config.training_seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training_seed)
        return build_detector(config)
