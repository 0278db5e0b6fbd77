"""A trained detector as a folder: weights, the experiment that made them, and what is needed to use them."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.seen import Seen
from pipeline.detectors.build import build_detector
from pipeline.detectors.detector import Detector
from pipeline.errors import ModelError

_LEAST_TRANSFER = 0.5
_WEIGHTS, _EXPERIMENT, _FACTS = "weights.safetensors", "experiment.json", "bundle.json"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network with its experiment.

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
        """
        inference = self.config.inference.model_copy(update={"views": "none", "precision": "32"})
        config = self.config.model_copy(update={"inference": inference})
        return replace(self, config=config, class_thresholds=None)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.data.classes

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors``, ``experiment.json`` and ``bundle.json``; nothing is pickled."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)
        (folder / _EXPERIMENT).write_text(self.config.model_dump_json(indent=1), encoding="utf-8")
        seen = {"patients": sorted(self.seen.patients), "volumes": sorted(self.seen.volumes)}
        own = {} if self.class_thresholds is None else {"class_thresholds": list(self.class_thresholds)}
        facts = {"threshold": self.threshold, **own, "seen": seen}
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
        try:
            tree = json.loads((folder / _EXPERIMENT).read_text(encoding="utf-8"))
            tree["evaluation"].pop("promotion_margin", None)  # in bundles from before policies set it
            config = ExperimentConfig.model_validate(tree)
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            threshold, seen = float(facts["threshold"]), facts["seen"]
            patients, volumes = frozenset(seen["patients"]), frozenset(seen["volumes"])
            own = facts.get("class_thresholds")  # absent where one threshold holds for all
            class_thresholds = None if own is None else tuple(float(one) for one in own)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder} is described in another way than this cellscan reads: {error}") from error
        network = build_detector(_without_download(config))
        try:
            network.load_state_dict(load_file(folder / _WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder / _WEIGHTS} does not fit the network of its experiment: {error}") from error
        return cls(config, network.eval(), threshold, Seen(patients, volumes), class_thresholds)


def transfer(source: Detector, target: Detector) -> float:
    """Copy every weight of ``source`` whose name and shape fit ``target``; the rest of ``target`` stays.

    Returns:
        The share of ``target``'s numbers that were copied.

    Raises:
        ModelError: less than half would be: the two are different networks, and nothing would be transferred.
    """
    own = target.state_dict()
    fitting = {k: v for k, v in source.state_dict().items() if k in own and own[k].shape == v.shape}
    share = sum(v.numel() for v in fitting.values()) / sum(v.numel() for v in own.values())
    if share < _LEAST_TRANSFER:
        raise ModelError(
            f"only {share:.0%} of the network fits the weights to start from, expected at least {_LEAST_TRANSFER:.0%}: "
            "use the same data.dims, backbone and widths, or leave out training.initial_weights"
        )
    target.load_state_dict(own | fitting)
    return share


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
