"""The detector that an experiment describes."""

from torch import nn

from pipeline.config.detector import RetinaNetConfig
from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.detector import Detector
from pipeline.detectors.retinanet import RetinaNetDetector


def build_detector(config: ExperimentConfig) -> Detector:
    """A network with fresh weights, drawn from PyTorch's generator.

    Raises:
        ModelError: its parts do not fit each other.
    """
    kind = RetinaNetDetector if isinstance(config.detector, RetinaNetConfig) else CentreDetector
    network = kind(config)
    nn.Module.to(network, memory_format=network.memory_format)  # type: ignore[call-overload]  # torch's stubs lack it
    return network
