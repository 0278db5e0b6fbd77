"""The detector that an experiment describes."""

from pipeline.config.experiment import ExperimentConfig
from pipeline.detectors.centre import CentreDetector
from pipeline.detectors.detector import Detector


def build_detector(config: ExperimentConfig) -> Detector:
    """A network with fresh weights, drawn from PyTorch's generator.

    Raises:
        ModelError: its parts do not fit each other.
    """
    return CentreDetector(config)
