"""What runs: one frozen model per stage, one YAML file per experiment."""

from pipeline.config.experiment import ExperimentConfig
from pipeline.config.load import load_experiment

__all__ = ["ExperimentConfig", "load_experiment"]
